//! Netlink attributes: a length, a number that names the attribute, and a value,
//! which may be a list of further attributes.

/// The flag in an attribute's number that marks its value as a list of attributes,
/// from <linux/netlink.h>.
const NESTED: u16 = 0x8000;

/// The bytes of an attribute before its value.
const HEADER_BYTES: usize = 4;

/// A list of attributes.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

// === impl Attributes ===

impl Attributes {
    /// Appends an attribute with this value.
    pub(super) fn bytes(mut self, name: u16, value: &[u8]) -> Self {
        let length = u16::try_from(HEADER_BYTES + value.len()).expect("the program's attributes are small");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(name.to_ne_bytes());
        self.0.extend(value);
        // Attributes start at multiples of four.
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Appends a number, which `nf_tables` expects in network order.
    pub(super) fn number(self, name: u16, value: u32) -> Self {
        self.bytes(name, &value.to_be_bytes())
    }

    /// Appends a text, with the zero byte that ends it.
    pub(super) fn text(self, name: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(name, &bytes)
    }

    /// Appends the list of attributes that `fill` makes.
    pub(super) fn nested(self, name: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        self.bytes(name | NESTED, &fill(Self::default()).0)
    }

    /// The list as it is sent.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_padded_and_their_lengths_are_not() {
        let attributes = Attributes::default().nested(3, |inner| inner.text(1, "ab").number(2, 7));
        let inner = [[7, 0, 1, 0], [b'a', b'b', 0, 0], [8, 0, 2, 0], [0, 0, 0, 7]].concat();
        assert_eq!(attributes.0, [vec![20, 0, 3, 0x80], inner].concat());
    }

    #[test]
    #[should_panic(expected = "the program's attributes are small")]
    fn a_value_that_does_not_fit_into_an_attribute_is_a_bug() {
        Attributes::default().bytes(1, &vec![0; 0x1_0000]);
    }
}
