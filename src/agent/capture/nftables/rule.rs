//! One rule: a list of expressions. Each goes on to the next expression, or to the
//! next rule if the packet does not match.

use std::time::Duration;

use super::attributes::Attributes;

// The attributes of expressions, from <linux/netfilter/nf_tables.h>.
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const META_REGISTER: u16 = 1;
const META_KEY: u16 = 2;
const COMPARE_REGISTER: u16 = 1;
const COMPARE_OPERATION: u16 = 2;
const COMPARE_DATA: u16 = 3;
const PAYLOAD_REGISTER: u16 = 1;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LENGTH: u16 = 4;
const LOOKUP_SET: u16 = 1;
const LOOKUP_REGISTER: u16 = 2;
const LOOKUP_FLAGS: u16 = 5;
const IMMEDIATE_REGISTER: u16 = 1;
const IMMEDIATE_DATA: u16 = 2;
const FIB_REGISTER: u16 = 1;
const FIB_RESULT: u16 = 2;
const FIB_FLAGS: u16 = 3;
const DYNSET_SET: u16 = 1;
const DYNSET_OPERATION: u16 = 3;
const DYNSET_KEY_REGISTER: u16 = 4;
const DYNSET_TIMEOUT: u16 = 6;
const TPROXY_FAMILY: u16 = 1;
const TPROXY_ADDRESS_REGISTER: u16 = 2;
const TPROXY_PORT_REGISTER: u16 = 3;

// Values of these attributes, from the same file.
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

/// A register for values that the next expression uses up.
const SCRATCH: u32 = 8;

/// The expressions of a rule, in order.
#[derive(Debug, Default)]
pub(super) struct Rule(pub(super) Attributes);

// === impl Rule ===

impl Rule {
    fn push(&mut self, name: &str, data: impl FnOnce(Attributes) -> Attributes) {
        let expressions = std::mem::take(&mut self.0);
        self.0 = expressions.nested(LIST_ELEMENT, |expression| {
            expression.text(EXPRESSION_NAME, name).nested(EXPRESSION_DATA, data)
        });
    }

    fn meta(&mut self, key: u32) {
        self.push("meta", |data| data.number(META_REGISTER, SCRATCH).number(META_KEY, key));
    }

    fn compare(&mut self, register: u32, operation: u32, value: &[u8]) {
        self.push("cmp", |data| {
            data.number(COMPARE_REGISTER, register)
                .number(COMPARE_OPERATION, operation)
                .nested(COMPARE_DATA, |nested| nested.bytes(DATA_VALUE, value))
        });
    }

    fn payload(&mut self, header: u32, offset: u32, length: u32, register: u32) {
        self.push("payload", |data| {
            data.number(PAYLOAD_REGISTER, register)
                .number(PAYLOAD_BASE, header)
                .number(PAYLOAD_OFFSET, offset)
                .number(PAYLOAD_LENGTH, length)
        });
    }

    fn lookup(&mut self, set: &str, register: u32, flags: u32) {
        self.push("lookup", |data| {
            data.text(LOOKUP_SET, set).number(LOOKUP_REGISTER, register).number(LOOKUP_FLAGS, flags)
        });
    }

    fn verdict(&mut self, code: u32) {
        self.push("immediate", |data| {
            data.number(IMMEDIATE_REGISTER, VERDICT_REGISTER).nested(IMMEDIATE_DATA, |value| {
                value.nested(DATA_VERDICT, |verdict| verdict.number(VERDICT_CODE, code))
            })
        });
    }

    /// Continues only for packets of this address family.
    pub(super) fn is_family(&mut self, family: u8) {
        self.meta(META_NFPROTO);
        self.compare(SCRATCH, EQUAL, &[family]);
    }

    /// Continues only for packets of this protocol.
    pub(super) fn is_protocol(&mut self, protocol: u8) {
        self.meta(META_L4PROTO);
        self.compare(SCRATCH, EQUAL, &[protocol]);
    }

    /// Continues only for packets of other protocols.
    pub(super) fn is_other_protocol(&mut self, protocol: u8) {
        self.meta(META_L4PROTO);
        self.compare(SCRATCH, NOT_EQUAL, &[protocol]);
    }

    /// Loads a field of the IP header into a register.
    pub(super) fn network(&mut self, offset: u32, length: u32, register: u32) {
        self.payload(NETWORK_HEADER, offset, length, register);
    }

    /// Loads a field of the TCP header into a register.
    pub(super) fn transport(&mut self, offset: u32, length: u32, register: u32) {
        self.payload(TRANSPORT_HEADER, offset, length, register);
    }

    /// Loads a constant into a register.
    pub(super) fn load(&mut self, register: u32, value: &[u8]) {
        self.push("immediate", |data| {
            data.number(IMMEDIATE_REGISTER, register)
                .nested(IMMEDIATE_DATA, |nested| nested.bytes(DATA_VALUE, value))
        });
    }

    /// Continues only if the register holds this value.
    pub(super) fn is_equal(&mut self, register: u32, value: &[u8]) {
        self.compare(register, EQUAL, value);
    }

    /// Continues only if the register, in network order, holds this value or more.
    pub(super) fn is_at_least(&mut self, register: u32, value: &[u8]) {
        self.compare(register, AT_LEAST, value);
    }

    /// Continues only if the register, in network order, holds less than this value.
    pub(super) fn is_below(&mut self, register: u32, value: &[u8]) {
        self.compare(register, BELOW, value);
    }

    /// Continues only if the set has the key that starts at the register.
    pub(super) fn is_in(&mut self, set: &str, register: u32) {
        self.lookup(set, register, 0);
    }

    /// Continues only if the set does not have the key that starts at the register.
    pub(super) fn is_not_in(&mut self, set: &str, register: u32) {
        self.lookup(set, register, LOOKUP_INVERTED);
    }

    /// Continues only if the source is an address of this network namespace.
    pub(super) fn is_source_local(&mut self, register: u32) {
        self.push("fib", |data| {
            data.number(FIB_REGISTER, register)
                .number(FIB_RESULT, FIB_ADDRESS_TYPE)
                .number(FIB_FLAGS, FIB_SOURCE)
        });
        // The kernel keeps this result in the machine's byte order.
        self.compare(register, EQUAL, &ADDRESS_IS_LOCAL.to_ne_bytes());
    }

    /// Adds the register's value to the set for this time, from now on.
    pub(super) fn refresh(&mut self, set: &str, register: u32, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).expect("the time is short");
        self.push("dynset", |data| {
            data.text(DYNSET_SET, set)
                .number(DYNSET_OPERATION, DYNSET_UPDATE)
                .number(DYNSET_KEY_REGISTER, register)
                .bytes(DYNSET_TIMEOUT, &milliseconds.to_be_bytes())
        });
    }

    /// Delivers the packet to the socket that listens at the registers' address and
    /// port. Goes on to the next rule if none does, or if the packet belongs to a
    /// connection of another socket.
    pub(super) fn deliver_to(&mut self, family: u8, address: u32, port: u32) {
        self.push("tproxy", |data| {
            data.number(TPROXY_FAMILY, family.into())
                .number(TPROXY_ADDRESS_REGISTER, address)
                .number(TPROXY_PORT_REGISTER, port)
        });
    }

    /// Lets the packet pass, without further rules.
    pub(super) fn accept(&mut self) {
        self.verdict(ACCEPT);
    }

    /// Drops the packet.
    pub(super) fn drop(&mut self) {
        self.verdict(DROP);
    }
}
