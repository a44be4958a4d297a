//! One rule: expressions, each of which goes on to the next or to the next rule.

use std::time::Duration;

use super::transaction::Attributes;

// From <linux/netfilter/nf_tables.h>: numbers of attributes, keys and operations.
const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const BELOW: u32 = 2;
const AT_LEAST: u32 = 5;
const LOOKUP_INVERTED: u32 = 1;
const DYNSET_UPDATE: u32 = 1;
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_SOURCE: u32 = 1;
const ADDRESS_IS_LOCAL: u32 = 2;
const VERDICT_REGISTER: u32 = 0;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// A register for what is looked at once.
const SCRATCH: u32 = 8;

/// The expressions of a rule, in order.
#[derive(Debug, Default)]
pub(super) struct Rule(pub(super) Attributes);

// === impl Rule ===

impl Rule {
    fn push(&mut self, name: &str, data: impl FnOnce(Attributes) -> Attributes) {
        let expressions = std::mem::take(&mut self.0);
        self.0 = expressions
            .nested(LIST_ELEM, |expression| expression.text(EXPR_NAME, name).nested(EXPR_DATA, data));
    }

    fn meta(&mut self, key: u32) {
        self.push("meta", |data| data.number(1, SCRATCH).number(2, key));
    }

    fn compare(&mut self, register: u32, operation: u32, value: &[u8]) {
        self.push("cmp", |data| {
            data.number(1, register).number(2, operation).nested(3, |nested| nested.bytes(DATA_VALUE, value))
        });
    }

    fn payload(&mut self, header: u32, offset: u32, length: u32, register: u32) {
        self.push("payload", |data| {
            data.number(1, register).number(2, header).number(3, offset).number(4, length)
        });
    }

    fn lookup(&mut self, set: &str, register: u32, flags: u32) {
        self.push("lookup", |data| data.text(1, set).number(2, register).number(5, flags));
    }

    fn verdict(&mut self, code: u32) {
        self.push("immediate", |data| {
            data.number(1, VERDICT_REGISTER)
                .nested(2, |value| value.nested(DATA_VERDICT, |verdict| verdict.number(VERDICT_CODE, code)))
        });
    }

    /// Only packets of this family of addresses.
    pub(super) fn is_family(&mut self, family: u8) {
        self.meta(META_NFPROTO);
        self.compare(SCRATCH, EQUAL, &[family]);
    }

    /// Only packets of this protocol.
    pub(super) fn is_protocol(&mut self, protocol: u8) {
        self.meta(META_L4PROTO);
        self.compare(SCRATCH, EQUAL, &[protocol]);
    }

    /// Only packets of other protocols.
    pub(super) fn is_other_protocol(&mut self, protocol: u8) {
        self.meta(META_L4PROTO);
        self.compare(SCRATCH, NOT_EQUAL, &[protocol]);
    }

    /// A field of the IP header into a register.
    pub(super) fn network(&mut self, offset: u32, length: u32, register: u32) {
        self.payload(NETWORK_HEADER, offset, length, register);
    }

    /// A field of the TCP header into a register.
    pub(super) fn transport(&mut self, offset: u32, length: u32, register: u32) {
        self.payload(TRANSPORT_HEADER, offset, length, register);
    }

    /// A constant into a register.
    pub(super) fn load(&mut self, register: u32, value: &[u8]) {
        self.push("immediate", |data| {
            data.number(1, register).nested(2, |nested| nested.bytes(DATA_VALUE, value))
        });
    }

    /// Only if the register holds this.
    pub(super) fn is_equal(&mut self, register: u32, value: &[u8]) {
        self.compare(register, EQUAL, value);
    }

    /// Only if the register, in network order, holds this or more.
    pub(super) fn is_at_least(&mut self, register: u32, value: &[u8]) {
        self.compare(register, AT_LEAST, value);
    }

    /// Only if the register, in network order, holds less than this.
    pub(super) fn is_below(&mut self, register: u32, value: &[u8]) {
        self.compare(register, BELOW, value);
    }

    /// Only if what lies from the register on is in the set.
    pub(super) fn is_in(&mut self, set: &str, register: u32) {
        self.lookup(set, register, 0);
    }

    /// Only if it is not.
    pub(super) fn is_not_in(&mut self, set: &str, register: u32) {
        self.lookup(set, register, LOOKUP_INVERTED);
    }

    /// Only if the source is an address of this network namespace.
    pub(super) fn is_source_local(&mut self, register: u32) {
        self.push("fib", |data| data.number(1, register).number(2, FIB_ADDRESS_TYPE).number(3, FIB_SOURCE));
        // A number of the kernel's own, not of the wire.
        self.compare(register, EQUAL, &ADDRESS_IS_LOCAL.to_ne_bytes());
    }

    /// Puts the register into the set, where it stays for so long.
    pub(super) fn refresh(&mut self, set: &str, register: u32, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.push("dynset", |data| {
            data.text(1, set)
                .number(3, DYNSET_UPDATE)
                .number(4, register)
                .bytes(6, &milliseconds.to_be_bytes())
        });
    }

    /// Hands the packet to the socket that listens where the registers say;
    /// goes on to the next rule if none does, or if the packet belongs to a
    /// connection that others hold.
    pub(super) fn hand_over(&mut self, family: u8, address: u32, port: u32) {
        self.push("tproxy", |data| data.number(1, family.into()).number(2, address).number(3, port));
    }

    /// Done with the packet, which goes on its way.
    pub(super) fn accept(&mut self) {
        self.verdict(ACCEPT);
    }

    /// Nobody gets the packet.
    pub(super) fn drop(&mut self) {
        self.verdict(DROP);
    }
}
