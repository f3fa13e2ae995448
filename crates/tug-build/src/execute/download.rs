//! `ADD` of addresses and archives.

use super::Worker;
use crate::error::BuildError;
use crate::files::copy::{Manner, Writer, descriptor_path};
use crate::files::owner::Owner;
use crate::files::rooted::{self, shown};
use crate::files::tree::{Found, Tree};
use crate::ignore::Rules;
use crate::ops::{Download, Http, Output};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use tug_archive::{UnpackOptions, Whiteouts};

/// Whether a file is a tar, compressed or not.
pub(super) fn is_archive(file: OwnedFd) -> bool {
    let Ok(mut decoder) = tug_archive::decoder(File::from(file)) else { return false };
    let mut block = [0; 512];
    let mut filled = 0;
    while filled < block.len() {
        match decoder.read(&mut block[filled..]) {
            Ok(0) | Err(_) => return false,
            Ok(count) => filled += count,
        }
    }
    is_header(&block)
}

/// A tar header's checksum counts every byte, its own field as spaces.
fn is_header(block: &[u8; 512]) -> bool {
    let digits = block[148..156].iter().filter(|byte| byte.is_ascii_digit());
    let wanted = digits.fold(0u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    block.iter().any(|byte| *byte != 0) && sum == wanted
}

/// Unpacks an archive into a directory of the layer.
pub(super) fn unpack_into(
    file: OwnedFd,
    name: &str,
    writer: &mut Writer<'_>,
    dir: &[u8],
    owner: Option<Owner>,
) -> Result<(), BuildError> {
    let failed = |source| BuildError::Unpack { name: name.to_owned(), source };
    let options = UnpackOptions { whiteouts: Whiteouts::Keep, ..UnpackOptions::default() };
    let mut decoder =
        std::io::BufReader::new(tug_archive::decoder(File::from(file)).map_err(failed)?);
    let Some(owner) = owner else {
        let unpack = |root: BorrowedFd<'_>| {
            let fd = rooted::open_dir(root, dir)
                .map_err(|errno| BuildError::files("open", shown(dir))(errno.into()))?;
            tug_archive::unpack(&mut decoder, &descriptor_path(fd.as_fd()), &options)
                .map_err(failed)
        };
        return writer.composed(unpack)?.map(drop);
    };
    // Somewhere else first: only what is unpacked changes hands.
    let temp = tempfile::tempdir().map_err(BuildError::files("create", "a temporary directory"))?;
    tug_archive::unpack(&mut decoder, temp.path(), &options).map_err(failed)?;
    let root = rooted::open_root(temp.path())
        .map_err(|errno| BuildError::files("open", temp.path())(errno.into()))?;
    let tree = Tree::stage(root);
    let manner = Manner { owner: Some(owner), ..Manner::default() };
    let mut writer = Writer::new(writer.target(), manner);
    let entries = tree.walk(b"", &Rules::default())?;
    writer.copy(&tree, &Found::default(), &entries, &[b"/", dir].concat())?;
    Ok(())
}

impl Worker<'_> {
    pub(super) fn download(&self, http: &Http) -> Result<Output, BuildError> {
        let path = self.lease.fresh_path("download");
        let (sum, modified) = self.fetch(http, &path)?;
        let actual = format!("sha256:{}", super::files::hex(&sum));
        if let Some(expected) = http.checksum.as_ref().filter(|expected| **expected != actual) {
            return Err(BuildError::Checksum {
                url: http.url.clone(),
                expected: expected.clone(),
                actual,
            });
        }
        // As Docker has it: readable by root alone, as old as the server says.
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(BuildError::files("set the mode of", &path))?;
        let time = std::time::UNIX_EPOCH
            + std::time::Duration::from_secs(u64::try_from(modified.unwrap_or(0)).unwrap_or(0));
        let file = File::options().write(true).open(&path);
        file.and_then(|file| file.set_modified(time))
            .map_err(BuildError::files("set the time of", &path))?;
        let file_name = http.file_name.clone();
        Ok(Output::Download(Arc::new(Download { path, file_name, sum })))
    }

    fn fetch(
        &self,
        http: &Http,
        path: &std::path::Path,
    ) -> Result<([u8; 32], Option<i64>), BuildError> {
        let mut coming = super::web::Download::start(&http.url, self.cancel)?;
        let mut file = File::create(path).map_err(BuildError::files("create", path))?;
        let mut hash = Sha256::new();
        while let Some(bytes) = coming.next()? {
            hash.update(&bytes);
            file.write_all(&bytes).map_err(BuildError::files("write", path))?;
        }
        Ok((hash.finalize().into(), coming.modified()))
    }
}
