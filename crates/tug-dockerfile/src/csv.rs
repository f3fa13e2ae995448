//! One line of comma-separated values, as `--mount` and `--device` hold them.

/// A list of options that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// Nothing at all.
    #[error("EOF")]
    Empty,
    /// A quote within a field that does not start with one.
    #[error("bare \" in non-quoted field")]
    BareQuote,
    /// A quoted field that does not end, or has something behind it.
    #[error("extraneous or missing \" in quoted-field")]
    Quote,
}

/// Comma-separated fields; one in double quotes may hold commas, and `""` for a quote.
///
/// # Errors
/// When there is nothing, or a quote is where none may be.
pub fn fields(line: &str) -> Result<Vec<String>, CsvError> {
    if line.is_empty() {
        return Err(CsvError::Empty);
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let Some(mut quoted) = rest.strip_prefix('"') else {
            let (field, behind) = match rest.split_once(',') {
                Some((field, behind)) => (field, Some(behind)),
                None => (rest, None),
            };
            if field.contains('"') {
                return Err(CsvError::BareQuote);
            }
            fields.push(field.to_owned());
            match behind {
                Some(behind) => rest = behind,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        loop {
            let (part, behind) = quoted.split_once('"').ok_or(CsvError::Quote)?;
            field.push_str(part);
            match behind.strip_prefix('"') {
                Some(behind) => {
                    field.push('"');
                    quoted = behind;
                }
                None => {
                    quoted = behind;
                    break;
                }
            }
        }
        fields.push(field);
        match quoted.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if quoted.is_empty() => return Ok(fields),
            None => return Err(CsvError::Quote),
        }
    }
}
