//! Packet lines: four hexadecimal digits of length, then so many bytes.

use crate::error::Error;
use std::io::Read;

/// One packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Data(Vec<u8>),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: between the parts of one.
    Delimiter,
    /// `0002`: the end of an answer.
    End,
}

/// The first line of a conversation. What does not even begin as a packet was not said by git.
pub(crate) fn first(from: &mut dyn Read) -> Result<Option<String>, Error> {
    match line(from) {
        Err(Error::Answer { .. }) => Err(Error::NoGit),
        answer => answer,
    }
}

/// Reads one.
pub(crate) fn read(from: &mut dyn Read) -> Result<Packet, Error> {
    let mut digits = [0; 4];
    from.read_exact(&mut digits).map_err(Error::talk)?;
    let text = std::str::from_utf8(&digits).ok().filter(|text| !text.starts_with('+'));
    let length = text.and_then(|text| usize::from_str_radix(text, 16).ok());
    match length.ok_or(Error::Answer { what: "a packet has no length" })? {
        0 => Ok(Packet::Flush),
        1 => Ok(Packet::Delimiter),
        2 => Ok(Packet::End),
        3 => Err(Error::Answer { what: "a packet has no length" }),
        length => {
            let mut data = vec![0; length - 4];
            from.read_exact(&mut data).map_err(Error::talk)?;
            match data.strip_prefix(b"ERR ") {
                Some(message) => {
                    let message = String::from_utf8_lossy(message).trim().to_owned();
                    Err(Error::Refused { message })
                }
                None => Ok(Packet::Data(data)),
            }
        }
    }
}

/// A line of text, its end taken off; none at the end of the part.
pub(crate) fn line(from: &mut dyn Read) -> Result<Option<String>, Error> {
    match read(from)? {
        Packet::Data(data) => {
            Ok(Some(String::from_utf8_lossy(&data).trim_end_matches('\n').to_owned()))
        }
        _ => Ok(None),
    }
}

/// Writes one.
pub(crate) fn write(out: &mut Vec<u8>, text: &str) {
    out.extend(format!("{:04x}{text}", text.len() + 4).as_bytes());
}
