//! The few of ONNX's messages that a network needs, as protocol buffers: fields by number, as `onnx.proto` has them.

/// A message under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A field of a whole number; negative ones take ten bytes.
    pub(crate) fn integer(mut self, field: u32, value: i64) -> Message {
        self.varint(u64::from(field) << 3);
        self.varint(value as u64);
        self
    }

    /// A field of a single-precision number.
    pub(crate) fn float(mut self, field: u32, value: f32) -> Message {
        self.varint(u64::from(field) << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A field of bytes, or of text.
    pub(crate) fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Message {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.as_ref().len() as u64);
        self.0.extend(value.as_ref());
        self
    }

    /// A field of another message.
    pub(crate) fn message(self, field: u32, value: &Message) -> Message {
        self.bytes(field, &value.0)
    }

    /// The whole message.
    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// An attribute of a node.
#[derive(Clone, Debug)]
pub(crate) enum Attribute {
    Float(f64),
    Integer(i64),
    Text(&'static str),
    Integers(Vec<i64>),
}

impl Attribute {
    pub(crate) fn message(&self, name: &str) -> Message {
        let message = Message::default().bytes(1, name);
        // The last field is the type.
        match self {
            Attribute::Float(value) => message.float(2, *value as f32).integer(20, 1),
            Attribute::Integer(value) => message.integer(3, *value).integer(20, 2),
            Attribute::Text(value) => message.bytes(4, value).integer(20, 3),
            Attribute::Integers(values) => {
                let all = values.iter().fold(message, |message, value| message.integer(8, *value));
                all.integer(20, 7)
            }
        }
    }
}

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elements {
    F32 = 1,
    I64 = 7,
}

/// A constant tensor.
pub(crate) fn tensor(name: &str, dims: &[usize], elements: Elements, data: &[u8]) -> Message {
    let dims =
        dims.iter().fold(Message::default(), |message, &extent| message.integer(1, extent as i64));
    dims.integer(2, elements as i64).bytes(8, name).bytes(9, data)
}

/// An input or output: its first axis is the batch, of any extent.
pub(crate) fn value(name: &str, sample: &[usize], elements: Elements) -> Message {
    let batch = Message::default().bytes(2, "batch");
    let mut shape = Message::default().message(1, &batch);
    for &extent in sample {
        shape = shape.message(1, &Message::default().integer(1, extent as i64));
    }
    let tensor = Message::default().integer(1, elements as i64).message(2, &shape);
    Message::default().bytes(1, name).message(2, &Message::default().message(1, &tensor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_as_the_format_has_them() {
        let message = Message::default().integer(1, 150).bytes(2, "testing").float(3, 1.0);
        let expected =
            [&[0x08, 0x96, 0x01][..], &[0x12, 0x07], b"testing", &[0x1d, 0x00, 0x00, 0x80, 0x3f]];
        assert_eq!(message.done(), expected.concat());
        let negative = Message::default().integer(1, -1).done();
        assert_eq!(negative, [&[0x08][..], &[0xff; 9], &[0x01]].concat());
        let inner = Message::default().integer(20, 7);
        assert_eq!(Message::default().message(5, &inner).done(), [0x2a, 3, 0xa0, 1, 7]);
    }
}
