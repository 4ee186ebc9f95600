//! Puts a file into a run's directory, and nowhere else: every step of its path is opened without following links,
//! since what ran there before may have made some.

use super::{FetchError, PIECE, Unwanted, hex};
use ring::digest::{Context, SHA256};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawMode, fchmod, fstat, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path};

/// The name under which a file comes into being beside its place.
const UNFINISHED: &str = ".punctual-unfinished";

/// Where a file goes.
pub(super) struct Place<'a> {
    pub(super) directory: &'a Path,
    /// Below the directory.
    pub(super) dest: &'a str,
    pub(super) mode: u32,
}

impl Place<'_> {
    /// Copies a file there; answers checksum and size. If it is not what is wanted nothing is there that was not
    /// before, but for directories on the way.
    pub(super) fn put(
        &self,
        file: File,
        wanted: Option<&str>,
        most: u64,
        unwanted: &Unwanted,
    ) -> Result<(String, u64), FetchError> {
        let &Self { directory, dest, mode } = self;
        let steps = steps_of(dest)?;
        let Some((name, parents)) = steps.split_last() else { return Err(outside(dest)) };
        let failed = |what: &'static str| move |error: Errno| FetchError::Io { what, error: error.into() };
        let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at: OwnedFd =
            openat(CWD, directory, folder, Mode::empty()).map_err(failed("open the run's directory"))?;
        for parent in parents {
            match mkdirat(&at, *parent, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(failed("make a directory for it")(error)),
            }
            at = openat(&at, *parent, folder | OFlags::NOFOLLOW, Mode::empty())
                .map_err(failed("open the directory for it (links are not followed)"))?;
        }
        // Two artifacts of one directory come at the same time.
        let unfinished = format!("{UNFINISHED}-{name}");
        let made = |at: &OwnedFd| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(at, unfinished.as_str(), flags, Mode::from_raw_mode(0o600))
        };
        let mut to = match made(&at) {
            // Left by an attempt that was cut short.
            Err(Errno::EXIST) => {
                unlinkat(&at, unfinished.as_str(), AtFlags::empty()).map_err(failed("remove a leftover"))?;
                made(&at)
            }
            made => made,
        }
        .map(File::from)
        .map_err(failed("make a file for it"))?;
        let finish = || {
            let (found, bytes) = copy_hashed(file, &mut to, most, unwanted)?;
            if wanted.is_some_and(|wanted| wanted != found) {
                return Err(FetchError::Checksum { found });
            }
            unwanted.check()?;
            fchmod(to.as_fd(), Mode::from_bits_truncate(mode as RawMode)).map_err(failed("set its mode"))?;
            renameat(&at, unfinished.as_str(), &at, *name).map_err(failed("put it in its place"))?;
            Ok((found, bytes))
        };
        let finished = finish();
        if finished.is_err() {
            let _ = unlinkat(&at, unfinished.as_str(), AtFlags::empty());
        }
        finished
    }
}

/// The steps of a path that stays where it is.
fn steps_of(dest: &str) -> Result<Vec<&str>, FetchError> {
    if dest.is_empty() || dest.ends_with('/') || dest.contains('\0') {
        return Err(outside(dest));
    }
    Path::new(dest)
        .components()
        .map(|step| match step {
            Component::Normal(name) => name.to_str().ok_or_else(|| outside(dest)),
            _ => Err(outside(dest)),
        })
        .collect()
}

fn outside(dest: &str) -> FetchError {
    FetchError::Refused(format!("its place {dest:?} is none within the run's directory"))
}

/// Opens a file that is one: no device, pipe or directory, on which reading could last for ever.
pub(super) fn open_regular(path: &Path) -> Result<File, FetchError> {
    let failed = |error: Errno| FetchError::Io { what: "open it", error: error.into() };
    // Without waiting: a pipe would wait for somebody to write.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
    let about = fstat(&file).map_err(failed)?;
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
        return Err(FetchError::Refused("it is no regular file".to_owned()));
    }
    Ok(File::from(file))
}

/// Copies, and answers checksum and size.
pub(super) fn copy_hashed(
    mut from: impl Read,
    to: &mut impl Write,
    most: u64,
    unwanted: &Unwanted,
) -> Result<(String, u64), FetchError> {
    let (mut hash, mut bytes, mut piece) = (Context::new(&SHA256), 0u64, vec![0; PIECE]);
    loop {
        unwanted.check()?;
        let count = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(FetchError::Io { what: "read it", error }),
        };
        bytes += count as u64;
        if bytes > most {
            return Err(FetchError::TooLarge { most });
        }
        hash.update(&piece[..count]);
        to.write_all(&piece[..count]).map_err(FetchError::io("write it"))?;
    }
    Ok((hex(hash), bytes))
}
