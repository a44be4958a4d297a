//! The system calls that no safe crate offers: bpf(2), one socket option, and
//! the limit of descriptors.
//!
//! The only `unsafe` of the program. Every call gets a pointer to a value that
//! lives on this stack frame or in a slice borrowed for the call; the kernel
//! copies what it needs before it returns and keeps no pointer.
#![expect(unsafe_code, reason = "bpf(2) takes pointers; no safe crate offers it without a C compiler")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

// From <linux/bpf.h>, stable since their first release.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const PROG_TYPE_SK_LOOKUP: u32 = 30;
const ATTACH_SK_LOOKUP: u32 = 36;

/// What the kernel is told the program's license is: `bpf_ktime_get_ns` is
/// only for GPL-compatible ones, which MIT is.
const LICENSE: &CStr = c"Dual MIT/GPL";

/// The kinds of map in use.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum MapKind {
    /// Values by index.
    Array = 2,
    /// Sockets by key.
    SocketHash = 18,
}

#[repr(C)]
#[derive(Default)]
struct MapAttributes {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    max_entries: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct ElementAttributes {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgramAttributes {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkAttributes {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// Makes the call; `T` is one of the structures above.
fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: the attributes are a live, initialised `repr(C)` structure of the
    // size passed; the pointers in them are to slices the caller borrows.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}

fn owned(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    // A borrowed descriptor is never negative.
    descriptor.as_raw_fd().unsigned_abs()
}

fn address<T>(slice: &[T]) -> u64 {
    slice.as_ptr() as u64
}

/// Creates a map.
pub(super) fn create_map(
    kind: MapKind,
    key_bytes: u32,
    value_bytes: u32,
    max_entries: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = MapAttributes { kind: kind as u32, key_bytes, value_bytes, max_entries, flags: 0 };
    bpf(MAP_CREATE, &mut attributes).map(owned)
}

/// Puts a value into a map, whose key and value have the sizes it was made for.
pub(super) fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut attributes = ElementAttributes {
        map: number(map),
        key: address(key),
        value: address(value),
        ..Default::default()
    };
    bpf(MAP_UPDATE_ELEM, &mut attributes).map(drop)
}

/// Takes a key out of a map; one that is not there is gone already.
pub(super) fn remove(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    let mut attributes = ElementAttributes { map: number(map), key: address(key), ..Default::default() };
    match bpf(MAP_DELETE_ELEM, &mut attributes) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Loads an `sk_lookup` program, which the kernel verifies.
pub(super) fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    let mut log = vec![0_u8; 64 * 1024];
    let mut name = [0; 16];
    name[..7].copy_from_slice(b"mirrord");
    let attributes = |log: &[u8]| ProgramAttributes {
        kind: PROG_TYPE_SK_LOOKUP,
        instruction_count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        instructions: address(instructions),
        license: LICENSE.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_bytes: u32::try_from(log.len()).unwrap_or(0),
        log: if log.is_empty() { 0 } else { address(log) },
        name,
        attach_type: ATTACH_SK_LOOKUP,
        ..Default::default()
    };
    let first = bpf(PROG_LOAD, &mut attributes(&[]));
    match first {
        Ok(descriptor) => Ok(owned(descriptor)),
        // Only the verifier's refusals have something to say.
        Err(error)
            if error.raw_os_error() == Some(libc::EACCES) || error.kind() == io::ErrorKind::InvalidInput =>
        {
            let again = {
                let log: &mut [u8] = &mut log;
                bpf(PROG_LOAD, &mut attributes(log))
            };
            if let Ok(descriptor) = again {
                return Ok(owned(descriptor));
            }
            let said = String::from_utf8_lossy(&log);
            let said = said.trim_end_matches('\0').trim().lines().last().unwrap_or_default().to_owned();
            Err(io::Error::new(error.kind(), format!("{error} {said}")))
        }
        Err(error) => Err(error),
    }
}

/// Attaches a program to a network namespace for as long as the result lives:
/// the kernel detaches it when the process that holds it ends, however it ends.
pub(super) fn attach(program: BorrowedFd<'_>, namespace: impl AsFd) -> io::Result<OwnedFd> {
    let mut attributes = LinkAttributes {
        program: number(program),
        target: number(namespace.as_fd()),
        attach_type: ATTACH_SK_LOOKUP,
        flags: 0,
    };
    bpf(LINK_CREATE, &mut attributes).map(owned)
}

/// The clock that `bpf_ktime_get_ns` reads.
pub(super) fn monotonic_nanoseconds() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a live timespec; the monotonic clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Asks for the shortest slices of processor time that the kernel gives (0.1 ms
/// from Linux 6.12 on; older ones take no notice): the shorter, the sooner after
/// waking. An agent's share beside a busy application is the smallest there is,
/// and with slices of the usual 3 ms it waits for hundreds of milliseconds.
pub(in crate::agent) fn ask_for_short_slices() -> io::Result<()> {
    // SAFETY: all zeroes is a valid value: the usual policy, no flags.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(0);
    attributes.sched_runtime = 100_000;
    // SAFETY: the kernel reads as many bytes of `attributes`, which is live, as its `size` says.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes as many descriptors as the process may have. Container runtimes start
/// processes with 1,024, for the sake of programs that use select(2): two for
/// each connection, that is gone at the five hundredth.
/// How many that is.
pub(in crate::agent) fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live for both calls, which copy from or into it.
    let result = unsafe {
        match libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) {
            0 => {
                limit.rlim_cur = limit.rlim_max;
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
            }
            failed => failed,
        }
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(limit.rlim_cur) }
}
