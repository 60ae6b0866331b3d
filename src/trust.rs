//! Refuses files and directories that other users own or can write, and names the remedy.

use std::{
    fs::{self, DirBuilder, File, Metadata},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// A sentence that names the path, what is wrong with it, and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Distrust(String);

impl From<Distrust> for io::Error {
    fn from(distrust: Distrust) -> Self {
        Self::other(distrust)
    }
}

/// What others must not be able to do with a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Closed {
    /// Read or write it: mode 0600 or less.
    Private,
    /// Write it, not even through a group.
    Unwritable,
    /// Write it, except through the user's own group.
    Shared,
}

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// Reads a file that belongs to the user or root; `None` if it does not exist.
///
/// # Errors
/// [`Distrust`] if it is not a file, cannot be read, or others have too many permissions.
pub(crate) fn read(path: &Path, closed: Closed) -> Result<Option<String>, Distrust> {
    let unreadable = |e: io::Error| Distrust(format!("{} cannot be read: {e}", path.display()));
    let Some(found) = regular(path)? else { return Ok(None) };
    check(path, &found, closed)?;
    let mut file = File::open(path).map_err(unreadable)?;
    // Check the opened file again, because it may have been replaced in between.
    check(path, &file.metadata().map_err(unreadable)?, closed)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    Ok(Some(text))
}

/// Checks a file that another part of the program reads or runs. A missing file is accepted.
///
/// # Errors
/// [`Distrust`] as [`read`].
pub(crate) fn file(path: &Path, closed: Closed) -> Result<(), Distrust> {
    regular(path)?.map_or(Ok(()), |found| check(path, &found, closed))
}

/// Checks a file that the user named by its path, such as a mounted secret: any user may own it,
/// but it must not be world-writable. The reader handles anything that is not a regular file.
///
/// # Errors
/// [`Distrust`] with the remedy.
pub(crate) fn named(path: &Path) -> Result<(), Distrust> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() && found.mode() & OTHERS_WRITE != 0 => {
            Err(writable(path, "everybody", "o-w"))
        }
        _ => Ok(()),
    }
}

/// Creates a directory, and those above it that are missing, for its owner alone. It is no error if
/// it is there already.
///
/// # Errors
/// The system's, with the path.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|e| {
        let text = format!("{} cannot be created as a directory: {e}", path.display());
        io::Error::new(e.kind(), text)
    })
}

/// Checks a directory of one's own, all that is above it, and what lies in it and in those of
/// `below`. Above it, others may write where nobody can replace what is not theirs, as in `/tmp`.
///
/// # Errors
/// [`Distrust`] with the remedy.
pub(crate) fn directory(path: &Path, below: &[&str]) -> Result<(), Distrust> {
    let failed = |e: io::Error| Distrust(format!("{} cannot be used: {e}", path.display()));
    let real = fs::canonicalize(path).map_err(failed)?;
    let named = std::path::absolute(path).map_err(failed)?;
    for above in real.ancestors().skip(1).chain(named.ancestors().skip(1)) {
        // Another user could redirect their symbolic link later.
        owned(above, &fs::symlink_metadata(above).map_err(failed)?)?;
        let found = fs::metadata(above).map_err(failed)?;
        if found.mode() & STICKY == 0 {
            check(above, &found, Closed::Shared)?;
        } else {
            owned(above, &found)?;
        }
    }
    owned(&named, &fs::symlink_metadata(&named).map_err(failed)?)?;
    for inside in std::iter::once(real.clone()).chain(below.iter().map(|name| real.join(name))) {
        contents(&inside)?;
    }
    Ok(())
}

/// Checks a directory and its contents, if it exists.
fn contents(path: &Path) -> Result<(), Distrust> {
    let failed = |e: io::Error| Distrust(format!("{} cannot be used: {e}", path.display()));
    let Some(found) = metadata(path)? else { return Ok(()) };
    check(path, &found, Closed::Unwritable)?;
    for entry in fs::read_dir(path).map_err(failed)? {
        let inside: PathBuf = entry.map_err(failed)?.path();
        // An entry that was deleted in between, such as a lock or a draft, is fine.
        if let Some(found) = metadata(&inside)? {
            check(&inside, &found, Closed::Shared)?;
        }
    }
    Ok(())
}

/// The metadata of a regular file. If the path is a link, the link must belong to the user or root.
fn regular(path: &Path) -> Result<Option<Metadata>, Distrust> {
    match fs::symlink_metadata(path) {
        Ok(link) => owned(path, &link)?,
        Err(_) => return metadata(path),
    }
    match metadata(path)? {
        Some(found) if !found.is_file() => {
            Err(Distrust(format!("{} is not a file; remove it", path.display())))
        }
        found => Ok(found),
    }
}

fn metadata(path: &Path) -> Result<Option<Metadata>, Distrust> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Distrust(format!("{} cannot be read: {e}", path.display()))),
    }
}

fn check(path: &Path, found: &Metadata, closed: Closed) -> Result<(), Distrust> {
    owned(path, found)?;
    // On most systems, a user's own group has the user's number and no other members.
    let own_group = found.gid() == rustix::process::geteuid().as_raw();
    match closed {
        Closed::Private if found.mode() & 0o077 != 0 => Err(Distrust(format!(
            "{path} is open to others than its owner (mode {:04o}); close it with \
             `chmod 600 {path}`, or remove it if others may have read it",
            found.mode() & 0o7777,
            path = path.display(),
        ))),
        _ if found.mode() & OTHERS_WRITE != 0 => Err(writable(path, "everybody", "go-w")),
        Closed::Shared if own_group => Ok(()),
        _ if found.mode() & GROUP_WRITES != 0 => Err(writable(path, "a group", "go-w")),
        _ => Ok(()),
    }
}

fn owned(path: &Path, found: &Metadata) -> Result<(), Distrust> {
    let own = rustix::process::geteuid().as_raw();
    if found.uid() == own || found.uid() == 0 {
        return Ok(());
    }
    Err(Distrust(format!(
        "{} belongs to another user ({}); make it your own with `chown`, or use another directory",
        path.display(),
        found.uid(),
    )))
}

fn writable(path: &Path, who: &str, change: &str) -> Distrust {
    let path = path.display();
    Distrust(format!("{path} can be written by {who}; take that away with `chmod {change} {path}`"))
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    /// A test's directory, removed when dropped.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("tenantry-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir(&dir).unwrap();
            set(&dir, 0o755);
            Self(dir)
        }

        fn file(&self, mode: u32) -> PathBuf {
            let path = self.0.join("file");
            fs::write(&path, "text").unwrap();
            set(&path, mode);
            path
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_is_trusted_only_if_others_lack_permissions() {
        let place = Place::new("file");
        for (mode, closed, trusted) in [
            (0o600, Closed::Private, true),
            (0o400, Closed::Private, true),
            (0o640, Closed::Private, false),
            (0o604, Closed::Private, false),
            (0o644, Closed::Unwritable, true),
            (0o664, Closed::Unwritable, false),
            (0o646, Closed::Unwritable, false),
            (0o646, Closed::Shared, false),
        ] {
            let path = place.file(mode);
            let read = read(&path, closed);
            assert_eq!(read.is_ok(), trusted, "{mode:o} {closed:?}");
            assert_eq!(file(&path, closed).is_ok(), trusted);
            if let Err(distrust) = read {
                let text = distrust.to_string();
                assert!(text.contains("chmod") && text.contains(path.to_str().unwrap()), "{text}");
            }
        }
        assert_eq!(read(&place.0.join("none"), Closed::Private).unwrap(), None);
        assert!(read(&place.0, Closed::Private).is_err(), "a directory is not a file");
    }

    #[test]
    fn a_named_file_is_refused_only_if_it_is_world_writable() {
        let place = Place::new("named");
        assert!(named(&place.file(0o444)).is_ok() && named(&place.file(0o664)).is_ok());
        assert!(named(&place.file(0o606)).unwrap_err().to_string().contains("chmod o-w"));
        assert!(named(Path::new("/dev/null")).is_ok() && named(&place.0.join("none")).is_ok());
    }

    #[test]
    fn a_directory_is_trusted_together_with_its_parents_and_contents() {
        let place = Place::new("directory");
        let (above, dir) = (place.0.join("above"), place.0.join("above/dir"));
        fs::create_dir_all(dir.join("bin")).unwrap();
        let file = dir.join("bin/mongod");
        fs::write(&file, "text").unwrap();
        let trusted = || directory(&dir, &["bin", "none"]).map_err(|distrust| distrust.0);
        for path in [&above, &dir, &dir.join("bin"), &file] {
            set(path, 0o755);
        }
        assert_eq!(trusted(), Ok(()));
        for path in [&above, &dir, &dir.join("bin"), &file] {
            set(path, 0o757);
            assert!(trusted().unwrap_err().starts_with(path.to_str().unwrap()));
            set(path, 0o755);
        }
        // Sticky, as /tmp: others may write there, but cannot replace files of other users.
        set(&above, 0o1777);
        assert_eq!(trusted(), Ok(()));
        set(&dir, 0o775);
        assert!(trusted().unwrap_err().contains("a group"));
    }
}
