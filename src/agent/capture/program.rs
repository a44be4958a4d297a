//! The `sk_lookup` program, assembled by hand: 78 instructions need no
//! compiler. The kernel runs it for each new connection, and for nothing else.
//!
//! ```text
//! pass unless the last heartbeat is recent         (a hung agent captures nothing)
//! pass unless TCP
//! pass if the agent itself dials                   (no loop)
//! the listener for this family, port and address, else for any address, else pass
//! ```
//!
//! The test below holds its disassembly, for those who review a change.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::time::Duration;

/// The source ports of the agent's own connections to the application: none that
/// Linux picks by itself. The source address is the destination's own, which only
/// a local process can have. It is never a loopback address for a client from
/// outside: an application that trusts loopback would trust everybody.
pub(in crate::agent) const SOURCE_PORTS: [RangeInclusive<u16>; 2] = [20_000..=32_767, 61_000..=65_534];

/// The range from which Linux picks the source ports of local clients.
pub(in crate::agent) const PICKED_PORTS: RangeInclusive<u16> = 32_768..=60_999;

/// How long after the last heartbeat new connections still go to the agent. It is
/// less than the second within which the application must answer again. It is not
/// shorter because a pod on a busy node waits this long for a processor now and
/// then, and keyed requests would go to the application meanwhile.
pub(in crate::agent) const MAX_SILENCE: Duration = Duration::from_millis(800);

/// Bytes of a key of the map of listeners: family, port, address.
pub(super) const KEY_BYTES: usize = 24;

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

/// The places that the program jumps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Version6,
    FromHere,
    Lookup,
    Assign,
    Pass,
}

/// Instructions, with jumps to labels that may be placed later.
#[derive(Default)]
struct Assembler {
    instructions: Vec<u64>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

/// The program, over the map of listeners and the map of the heartbeat.
pub(super) fn instructions(listeners: BorrowedFd<'_>, heartbeat: BorrowedFd<'_>) -> Vec<u64> {
    assemble(listeners.as_raw_fd(), heartbeat.as_raw_fd())
}

fn assemble(listeners: RawFd, heartbeat: RawFd) -> Vec<u64> {
    let mut code = Assembler::default();
    code.copy(6, 1); // r6: the context
    // The last heartbeat must be recent.
    code.store(INDEX, 0);
    code.lookup(heartbeat, INDEX);
    code.jump_if_equal(0, 0, Label::Pass);
    code.load_long(7, 0, 0);
    code.call(KTIME_GET_NS);
    code.subtract(0, 7);
    // Signed: the kernel's coarser clock may be a little behind the heartbeat.
    let silence = i32::try_from(MAX_SILENCE.as_nanos()).expect("the longest silence is below two seconds");
    code.jump_if_later(0, silence, Label::Pass);
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
    code.jump(Label::FromHere);
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
    // A local process. An ordinary client has a port that Linux picked.
    code.label(Label::FromHere);
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
    code.set(0, 1); // SK_PASS: the assigned listener, else the usual lookup
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
    fn lookup(&mut self, map: RawFd, key: i16) {
        // A 64-bit constant takes two instructions; source 1 says "a map's descriptor".
        self.push(0x18, 1, 1, 0, map);
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

    /// Fills in the distances of the jumps. The kernel counts them from the next
    /// instruction, and this program only jumps forward.
    fn finish(mut self) -> Vec<u64> {
        for (at, label) in self.jumps {
            let (_, to) =
                self.labels.iter().find(|(known, _)| *known == label).expect("every label is placed");
            let distance = to.checked_sub(at + 1).expect("every jump goes forward");
            let distance = i16::try_from(distance).expect("the program is short").to_ne_bytes();
            let mut bytes = self.instructions[at].to_ne_bytes();
            bytes[2..4].copy_from_slice(&distance);
            self.instructions[at] = u64::from_ne_bytes(bytes);
        }
        self.instructions
    }
}

/// Whether a connection to `local` from this source is one that the agent has
/// dialled. The program decides by the same rule.
pub(super) fn is_own(remote: IpAddr, port: u16, local: IpAddr) -> bool {
    remote == local && !PICKED_PORTS.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_one_that_was_reviewed() {
        let bytes: Vec<u8> =
            assemble(100, 101).iter().flat_map(|instruction| instruction.to_ne_bytes()).collect();
        let lines = rbpf::disassembler::to_insn_vec(&bytes);
        // The second half of a 64-bit constant has no line, but jumps count it.
        let mut at = 0;
        let listing: Vec<String> = lines
            .iter()
            .map(|line| {
                let text = match line.off {
                    distance if line.opc & 0x07 == 0x05 && distance > 0 => {
                        format!("{at:3}  {}  -> {}", line.desc, at + isize::from(distance) + 1)
                    }
                    _ => format!("{at:3}  {}", line.desc),
                };
                at += if line.opc == 0x18 { 2 } else { 1 };
                text
            })
            .collect();
        insta::assert_snapshot!(listing.join("\n"));
    }

    #[test]
    #[should_panic(expected = "every label is placed")]
    fn a_jump_to_a_label_that_is_nowhere_is_a_bug() {
        let mut code = Assembler::default();
        code.jump(Label::Pass);
        code.finish();
    }

    #[test]
    #[should_panic(expected = "the program is short")]
    fn a_jump_that_is_too_far_for_an_instruction_is_a_bug() {
        let mut code = Assembler::default();
        code.jump(Label::Pass);
        (0..=i16::MAX).for_each(|_| code.exit());
        code.exit();
        code.label(Label::Pass);
        code.finish();
    }
}
