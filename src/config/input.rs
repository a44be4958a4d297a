//! Reads the local files that the user or the configuration file names. The kind and
//! the size of a file are checked first: a pipe would block the command, and a device
//! would fill its memory.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// The longest configuration, in bytes: it may hold the contents of a ConfigMap and of
/// a Secret, 1 MiB each, in base64.
pub(super) const CONFIGURATION: usize = 8 * 1024 * 1024;

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
///
/// `InvalidInput` for a pipe, a device or a folder, `FileTooLarge` for a longer file.
pub(super) fn read(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if usize::try_from(metadata.len()).is_ok_and(|length| length <= limit) {
        limited(File::open(path)?, limit)
    } else {
        Err(too_large(limit))
    }
}

/// Reads a regular file of at most `limit` bytes of UTF-8.
///
/// # Errors
///
/// As [`read`], and `InvalidData` for text that is not UTF-8.
pub(super) fn text(path: &Path, limit: usize) -> Result<String> {
    utf8(read(path, limit)?)
}

/// Reads standard input, at most `limit` bytes of UTF-8.
///
/// # Errors
///
/// `FileTooLarge` for more, and `InvalidData` for text that is not UTF-8.
pub(super) fn standard_input(limit: usize) -> Result<String> {
    utf8(limited(std::io::stdin().lock(), limit)?)
}

/// Files of `/proc` have no length, and others may grow while they are read.
fn limited(source: impl Read, limit: usize) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    source.take(limit as u64 + 1).read_to_end(&mut content)?;
    if content.len() > limit { Err(too_large(limit)) } else { Ok(content) }
}

fn utf8(content: Vec<u8>) -> Result<String> {
    String::from_utf8(content).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

fn too_large(limit: usize) -> Error {
    Error::new(ErrorKind::FileTooLarge, format!("it has more than {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(text(&path, 5).unwrap(), "12345");
        assert_eq!(text(&path, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read(&path, 4).unwrap(), [0xff]);
        assert_eq!(text(&path, 4).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(read(folder.path(), 4).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(read(&folder.path().join("gone"), 4).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_file_without_a_length_is_read_up_to_the_limit() {
        let path = Path::new("/proc/self/status");
        assert!(read(path, 1024 * 1024).unwrap().len() > 4);
        assert_eq!(read(path, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_device_is_not_read() {
        assert_eq!(read(Path::new("/dev/zero"), 4).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
