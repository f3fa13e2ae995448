//! A file that is written for the caller: under its name only when it is whole, where that is possible.

use crate::error::BuildError;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tug_engine::PendingFile;

/// Where bytes go.
pub(crate) struct Out {
    to: BufWriter<To>,
    path: PathBuf,
}

enum To {
    /// A pipe, a terminal, a device: there is no other name to write it under.
    Stream(File),
    File(PendingFile),
}

impl Out {
    pub(crate) fn create(path: &Path) -> Result<Self, BuildError> {
        let is_stream = std::fs::metadata(path).is_ok_and(|known| !known.is_file());
        // The standard output is the caller's, wherever it leads.
        let to = if is_stream || path.starts_with("/dev") || path.starts_with("/proc") {
            To::Stream(File::create(path).map_err(BuildError::files("create", path))?)
        } else {
            // What a link leads to is what is written.
            let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            To::File(PendingFile::create(&real)?)
        };
        Ok(Self { to: BufWriter::with_capacity(256 << 10, to), path: path.to_owned() })
    }

    /// It is whole.
    pub(crate) fn keep(mut self) -> Result<(), BuildError> {
        self.to.flush().map_err(BuildError::files("write", &self.path))?;
        match self.to.into_inner() {
            Ok(To::Stream(_)) => Ok(()),
            Ok(To::File(pending)) => Ok(pending.keep()?),
            Err(error) => Err(BuildError::files("write", &self.path)(error.into_error())),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Write for To {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(file) => file.write(bytes),
            Self::File(pending) => pending.file().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
