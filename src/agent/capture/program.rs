//! The `sk_lookup` program, put together by hand: some fifty instructions need
//! no compiler. The kernel runs it for each new connection that arrives, and
//! for nothing else.
//!
//! ```text
//! pass unless the agent's heart beat lately        (a hung agent captures nothing)
//! pass unless TCP
//! pass if the source is one the agent dials from   (no loop)
//! the listener for this family, port and address, else for any address, else pass
//! ```

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

/// Where the agent dials from: the destination's own address, which only a
/// local process can have, and a port that Linux does not pick by itself. Never
/// a loopback address for a connection from outside: an application that
/// trusts those would trust everybody.
pub(in crate::agent) const SOURCE_PORTS: [RangeInclusive<u16>; 2] = [20_000..=32_767, 61_000..=65_534];

/// The range from which Linux picks ports: a local client's is one of them.
pub(in crate::agent) const PICKED_PORTS: RangeInclusive<u16> = 32_768..=60_999;

/// How long after the last heartbeat connections still come to the agent. Less
/// than the second within which the application must answer again; no shorter,
/// as a pod of a busy node waits this long for a processor now and then, and the
/// key's requests would be the application's meanwhile.
pub(in crate::agent) const MAX_SILENCE: Duration = Duration::from_millis(800);

/// Bytes of a key of the map of listeners: family, port, address.
pub(super) const KEY_BYTES: u32 = 24;

const AF_INET: i32 = libc::AF_INET;
const AF_INET6: i32 = libc::AF_INET6;

// Offsets in `struct bpf_sk_lookup`.
const FAMILY: i16 = 8;
const PROTOCOL: i16 = 12;
const REMOTE_IP4: i16 = 16;
const REMOTE_IP6: i16 = 20;
const REMOTE_PORT: i16 = 36;
const LOCAL_IP4: i16 = 40;
const LOCAL_IP6: i16 = 44;
const LOCAL_PORT: i16 = 60;

// Helper functions of the kernel, by number.
const MAP_LOOKUP_ELEM: i32 = 1;
const KTIME_GET_NS: i32 = 5;
const SK_RELEASE: i32 = 86;
const SK_ASSIGN: i32 = 124;

// Where the key and the heartbeat's index lie below the frame pointer.
const KEY: i16 = -32;
const KEY_PORT: i16 = KEY + 4;
const KEY_ADDRESS: i16 = KEY + 8;
const INDEX: i16 = -4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Version6,
    Near,
    Lookup,
    Assign,
    Pass,
}

#[derive(Default)]
struct Assembler {
    instructions: Vec<u64>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

/// The program, over the map of listeners and the map of the heartbeat.
pub(super) fn instructions(listeners: BorrowedFd<'_>, heartbeat: BorrowedFd<'_>) -> Vec<u64> {
    let mut code = Assembler::default();
    code.copy(6, 1); // r6: the context
    // The heart must have beaten lately.
    code.store(INDEX, 0);
    code.lookup(heartbeat, INDEX);
    code.jump_if_equal(0, 0, Label::Pass);
    code.load_long(7, 0, 0);
    code.call(KTIME_GET_NS);
    code.subtract(0, 7);
    // Signed: the kernel reads a quicker clock, which may be a little behind the beat.
    code.jump_if_later(0, i32::try_from(MAX_SILENCE.as_nanos()).unwrap_or(i32::MAX), Label::Pass);
    // Only TCP.
    code.load_word(1, 6, PROTOCOL);
    code.jump_unless_equal(1, libc::IPPROTO_TCP, Label::Pass);
    // The key: family, port, address.
    code.load_word(1, 6, LOCAL_PORT);
    code.store_word(KEY_PORT, 1);
    code.load_word(1, 6, FAMILY);
    code.store_word(KEY, 1);
    code.jump_if_equal(1, AF_INET6, Label::Version6);
    code.jump_unless_equal(1, AF_INET, Label::Pass);
    code.load_word(1, 6, LOCAL_IP4);
    code.store_word(KEY_ADDRESS, 1);
    for word in 1..4 {
        code.store(KEY_ADDRESS + word * 4, 0);
    }
    code.load_word(2, 6, REMOTE_IP4);
    code.jump_unless_same(1, 2, Label::Lookup);
    code.jump(Label::Near);
    code.label(Label::Version6);
    for word in 0..4 {
        code.load_word(1, 6, LOCAL_IP6 + word * 4);
        code.store_word(KEY_ADDRESS + word * 4, 1);
    }
    for word in 0..4 {
        code.load_word(1, 6, LOCAL_IP6 + word * 4);
        code.load_word(2, 6, REMOTE_IP6 + word * 4);
        code.jump_unless_same(1, 2, Label::Lookup);
    }
    // A local process, which has picked its port itself if it is no common client.
    code.label(Label::Near);
    code.load_half(1, 6, REMOTE_PORT);
    code.convert_big_endian(1);
    code.jump_if_above(1, i32::from(*PICKED_PORTS.end()), Label::Pass);
    code.jump_if_above(1, i32::from(*PICKED_PORTS.start()) - 1, Label::Lookup);
    code.jump(Label::Pass);
    code.label(Label::Lookup);
    code.lookup(listeners, KEY);
    code.jump_unless_equal(0, 0, Label::Assign);
    for word in 0..4 {
        code.store(KEY_ADDRESS + word * 4, 0);
    }
    code.lookup(listeners, KEY);
    code.jump_if_equal(0, 0, Label::Pass);
    code.label(Label::Assign);
    code.copy(7, 0);
    code.copy(1, 6);
    code.copy(2, 7);
    code.set(3, 0);
    code.call(SK_ASSIGN);
    code.copy(1, 7);
    code.call(SK_RELEASE);
    code.label(Label::Pass);
    code.set(0, 1); // SK_PASS: what was assigned, else as ever
    code.exit();
    code.finish()
}

// === impl Assembler ===

impl Assembler {
    /// One instruction, as the kernel reads it.
    fn push(&mut self, opcode: u8, target: u8, source: u8, offset: i16, immediate: i32) {
        // The kernel's structure puts `target` into the low bits on
        // little-endian machines and into the high bits on big-endian ones.
        let registers =
            if cfg!(target_endian = "little") { target | source << 4 } else { target << 4 | source };
        let [low, high] = offset.to_ne_bytes();
        let [a, b, c, d] = immediate.to_ne_bytes();
        self.instructions.push(u64::from_ne_bytes([opcode, registers, low, high, a, b, c, d]));
    }

    fn copy(&mut self, target: u8, source: u8) {
        self.push(0xbf, target, source, 0, 0);
    }

    fn set(&mut self, target: u8, value: i32) {
        self.push(0xb7, target, 0, 0, value);
    }

    fn subtract(&mut self, target: u8, source: u8) {
        self.push(0x1f, target, source, 0, 0);
    }

    fn convert_big_endian(&mut self, target: u8) {
        self.push(0xdc, target, 0, 0, 16);
    }

    fn load_half(&mut self, target: u8, base: u8, offset: i16) {
        self.push(0x69, target, base, offset, 0);
    }

    fn load_word(&mut self, target: u8, base: u8, offset: i16) {
        self.push(0x61, target, base, offset, 0);
    }

    fn load_long(&mut self, target: u8, base: u8, offset: i16) {
        self.push(0x79, target, base, offset, 0);
    }

    /// A word of the stack := a constant.
    fn store(&mut self, offset: i16, value: i32) {
        self.push(0x62, 10, 0, offset, value);
    }

    /// A word of the stack := a register.
    fn store_word(&mut self, offset: i16, source: u8) {
        self.push(0x63, 10, source, offset, 0);
    }

    /// r0 := the value in `map` under the key on the stack, or 0.
    fn lookup(&mut self, map: BorrowedFd<'_>, key: i16) {
        // A 64-bit constant takes two instructions; source 1 says "a map's descriptor".
        self.push(0x18, 1, 1, 0, map.as_raw_fd());
        self.push(0, 0, 0, 0, 0);
        self.copy(2, 10);
        self.push(0x07, 2, 0, 0, i32::from(key));
        self.call(MAP_LOOKUP_ELEM);
    }

    fn call(&mut self, function: i32) {
        self.push(0x85, 0, 0, 0, function);
    }

    fn exit(&mut self) {
        self.push(0x95, 0, 0, 0, 0);
    }

    fn jump(&mut self, label: Label) {
        self.jump_by(0x05, 0, 0, 0, label);
    }

    fn jump_if_equal(&mut self, register: u8, value: i32, label: Label) {
        self.jump_by(0x15, register, 0, value, label);
    }

    fn jump_unless_equal(&mut self, register: u8, value: i32, label: Label) {
        self.jump_by(0x55, register, 0, value, label);
    }

    fn jump_unless_same(&mut self, one: u8, other: u8, label: Label) {
        self.jump_by(0x5d, one, other, 0, label);
    }

    fn jump_if_above(&mut self, register: u8, value: i32, label: Label) {
        self.jump_by(0x25, register, 0, value, label);
    }

    fn jump_if_later(&mut self, register: u8, value: i32, label: Label) {
        self.jump_by(0x65, register, 0, value, label);
    }

    fn jump_by(&mut self, opcode: u8, target: u8, source: u8, value: i32, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.push(opcode, target, source, 0, value);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.instructions.len()));
    }

    /// Every jump goes forward; its distance counts from the next instruction.
    fn finish(mut self) -> Vec<u64> {
        for (at, label) in self.jumps {
            let Some((_, to)) = self.labels.iter().find(|(known, _)| *known == label) else { continue };
            let distance = i16::try_from(to - at - 1).unwrap_or(i16::MAX).to_ne_bytes();
            let mut bytes = self.instructions[at].to_ne_bytes();
            bytes[2..4].copy_from_slice(&distance);
            self.instructions[at] = u64::from_ne_bytes(bytes);
        }
        self.instructions
    }
}

/// Whether a connection to `local` from this source is one of the agent's own
/// dials; the same question that the program asks.
pub(super) fn is_own(remote: IpAddr, port: u16, local: IpAddr) -> bool {
    remote == local && !PICKED_PORTS.contains(&port)
}
