//! The system calls that no safe crate offers: bpf(2), and one scheduling
//! attribute.
//!
//! This is the only file with `unsafe`. `aya` speaks bpf(2) in pure Rust too, but
//! it loads object files, which a BPF compiler has to make first. Every call here
//! gets a pointer to a value on its own stack frame or to a slice that is borrowed
//! for the call; the kernel copies what it needs before it returns, and keeps no
//! pointer.
#![expect(unsafe_code, reason = "bpf(2) takes pointers; no safe crate offers it without a BPF compiler")]

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

/// The license that the program declares to the kernel: `bpf_ktime_get_ns` is
/// reserved for GPL-compatible programs, and MIT is compatible.
const LICENSE: &CStr = c"Dual MIT/GPL";

/// Room for the verifier's log.
const LOG_BYTES: usize = 64 * 1024;

/// The kinds of map in use.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum MapKind {
    /// Values by index.
    Array = 2,
    /// Sockets by key.
    SocketHash = 18,
}

/// A BPF map with keys of `KEY` bytes and values of `VALUE` bytes. The kernel
/// reads as many bytes of a key or value as the map was created with, whatever
/// length the caller's slice has: hence the sizes are part of the type.
#[derive(Debug)]
pub(super) struct Map<const KEY: usize, const VALUE: usize> {
    descriptor: OwnedFd,
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
    // size passed; the pointers in them are to memory that the caller borrows, for
    // writing where the kernel writes.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}

fn owned(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    u32::try_from(descriptor.as_raw_fd()).expect("a borrowed descriptor is not negative")
}

/// The address of memory that the kernel reads.
fn readable<T>(memory: *const T) -> u64 {
    memory.expose_provenance() as u64
}

/// The address of memory that the kernel writes.
fn writable<T>(memory: *mut T) -> u64 {
    memory.expose_provenance() as u64
}

// === impl Map ===

impl<const KEY: usize, const VALUE: usize> Map<KEY, VALUE> {
    /// Creates a map.
    pub(super) fn create(kind: MapKind, max_entries: u32) -> io::Result<Self> {
        let bytes = |size: usize| u32::try_from(size).expect("keys and values are small");
        let mut attributes = MapAttributes {
            kind: kind as u32,
            key_bytes: bytes(KEY),
            value_bytes: bytes(VALUE),
            max_entries,
            flags: 0,
        };
        Ok(Self { descriptor: owned(bpf(MAP_CREATE, &mut attributes)?) })
    }

    /// Sets the value of a key.
    pub(super) fn update(&self, key: [u8; KEY], value: [u8; VALUE]) -> io::Result<()> {
        let mut attributes = ElementAttributes {
            map: number(self.as_fd()),
            key: readable(key.as_ptr()),
            value: readable(value.as_ptr()),
            ..Default::default()
        };
        bpf(MAP_UPDATE_ELEM, &mut attributes).map(drop)
    }

    /// Removes a key; it is not an error if the map does not have it.
    pub(super) fn remove(&self, key: [u8; KEY]) -> io::Result<()> {
        let mut attributes = ElementAttributes {
            map: number(self.as_fd()),
            key: readable(key.as_ptr()),
            ..Default::default()
        };
        match bpf(MAP_DELETE_ELEM, &mut attributes) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl<const KEY: usize, const VALUE: usize> AsFd for Map<KEY, VALUE> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Loads an `sk_lookup` program, which the kernel verifies. The error of a
/// refused program ends with the verifier's reason.
pub(super) fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    let first = bpf(PROG_LOAD, &mut program(instructions, &mut []));
    match first {
        Ok(descriptor) => Ok(owned(descriptor)),
        // Only these errors come from the verifier: its log is worth a second call.
        Err(error)
            if error.raw_os_error() == Some(libc::EACCES) || error.kind() == io::ErrorKind::InvalidInput =>
        {
            let mut log = vec![0; LOG_BYTES];
            if let Ok(descriptor) = bpf(PROG_LOAD, &mut program(instructions, &mut log)) {
                return Ok(owned(descriptor));
            }
            let why = reason(&String::from_utf8_lossy(&log));
            Err(io::Error::new(error.kind(), format!("{error} {why}")))
        }
        Err(error) => Err(error),
    }
}

/// The verifier's reason: the last line of its log, before its statistics.
fn reason(log: &str) -> String {
    let mut lines = log.trim_end_matches('\0').lines().map(str::trim);
    lines.rfind(|line| !line.is_empty() && !line.starts_with("processed ")).unwrap_or_default().to_owned()
}

/// The attributes of a program whose verifier writes into `log`; an empty one
/// asks for no log.
fn program(instructions: &[u64], log: &mut [u8]) -> ProgramAttributes {
    let count = |length: usize| u32::try_from(length).expect("programs and logs are small");
    let mut name = [0; 16];
    name[..7].copy_from_slice(b"mirrord");
    ProgramAttributes {
        kind: PROG_TYPE_SK_LOOKUP,
        instruction_count: count(instructions.len()),
        instructions: readable(instructions.as_ptr()),
        license: readable(LICENSE.as_ptr()),
        log_level: u32::from(!log.is_empty()),
        log_bytes: count(log.len()),
        // The kernel refuses an address without a length.
        log: if log.is_empty() { 0 } else { writable(log.as_mut_ptr()) },
        name,
        attach_type: ATTACH_SK_LOOKUP,
        ..Default::default()
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

/// Asks for the shortest slices of processor time that the kernel gives (0.1 ms
/// from Linux 6.12 on; older kernels ignore it): the shorter the slice, the sooner
/// the thread runs after it wakes up. Beside a busy application the agent's share
/// is the smallest there is, and with the usual slices of 3 ms it waits for
/// hundreds of milliseconds.
pub(in crate::agent) fn ask_for_short_slices() -> io::Result<()> {
    // SAFETY: all zeroes is a valid value: the usual policy, no flags.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = u32::try_from(size_of::<libc::sched_attr>()).expect("the structure is small");
    attributes.sched_runtime = 100_000;
    // SAFETY: the kernel reads as many bytes of `attributes`, which is live, as its `size` says.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_a_refused_program_is_written_through_an_exclusive_borrow() {
        // Sizes are part of the type: a key or value of another length does not compile.
        let mut log = [0; 8];
        let address = log.as_mut_ptr().addr() as u64;
        let attributes = program(&[], &mut log);
        assert_eq!((attributes.log, attributes.log_bytes, attributes.log_level), (address, 8, 1));
        let silent = program(&[], &mut []);
        assert_eq!((silent.log, silent.log_bytes, silent.log_level), (0, 0, 0));
    }

    #[test]
    fn a_refused_program_is_an_error_with_the_verifiers_reason() {
        // `exit` without a result in r0.
        let error = load(&[0x95]).unwrap_err();
        // Without the capability, the kernel does not get as far as verifying.
        assert!(
            error.raw_os_error() == Some(libc::EPERM) || error.to_string().contains("R0 !read_ok"),
            "{error}"
        );
    }
}
