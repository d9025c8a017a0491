//! Writes files in the MaxMind DB format, version 2.0, with 24-bit records.
//!
//! For `examples/reduce`, which makes the built-in database, and for tests that need small files of
//! every layout. Source: "MaxMind DB File Format Specification",
//! <https://maxmind.github.io/MaxMind-DB/>.

use std::collections::HashMap;

/// Between the search tree and the data.
const SEPARATOR: [u8; 16] = [0; 16];

const METADATA_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// First value a 24-bit record cannot hold.
const RECORD_END: usize = 1 << 24;

/// The longest text or container written here; the format goes on to 16 million.
const LEN_MAX: usize = 285 + 0xffff;

/// What a bit of an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// No record.
    Empty,
    /// The node with this index.
    Node(u32),
    /// The record with this index.
    Record(u32),
}

/// A value of the data section.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Members in the order in which they are written.
    Map(Vec<(&'static str, Value)>),
    /// An array.
    Array(Vec<Value>),
    /// UTF-8 text, at most 65,820 bytes.
    Text(String),
    /// 64 bits.
    Double(f64),
    /// 32 bits.
    Float(f32),
    /// Unsigned, 16 bits.
    U16(u16),
    /// Unsigned, 32 bits.
    U32(u32),
    /// Unsigned, 64 bits.
    U64(u64),
    /// Written once; a pointer wherever it comes again.
    Shared(Box<Value>),
}

/// What the metadata says of a file.
#[derive(Clone, Debug)]
pub struct Description {
    /// Such as `GeoLite2-City`.
    pub database_type: String,
    /// One sentence in English; where the data come from. Empty: none, as in files of DB-IP.
    pub text: String,
    /// When the data were built, in seconds since 1970.
    pub build_epoch: u64,
    /// 4, or 6 if the tree begins with an IPv6 address (IPv4 then stands below `::/96`).
    pub ip_version: u16,
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// More nodes and data than 24 bits can point at. Carries the address needed.
    #[error("nodes and data need the address {0}, more than 24 bits hold")]
    TooLarge(usize),
    /// A text or a container is longer than this writer encodes. Carries its length.
    #[error("a value of length {0} is longer than {LEN_MAX}")]
    TooLong(usize),
    /// A branch names a node or a record that does not exist.
    #[error("a branch leads to {0:?}, which does not exist")]
    Nowhere(Branch),
    /// The tree has no node.
    #[error("the tree has no node")]
    NoTree,
}

/// The file with the tree `nodes`, whose first is the root, and the data `records`.
///
/// # Errors
/// See [`WriteError`].
pub fn write(
    about: &Description,
    nodes: &[[Branch; 2]],
    records: &[Value],
) -> Result<Vec<u8>, WriteError> {
    if nodes.is_empty() {
        return Err(WriteError::NoTree);
    }
    let mut data = Data::default();
    let offsets = records.iter().map(|of| data.place(of)).collect::<Result<Vec<_>, _>>()?;
    let mut file = Vec::with_capacity(nodes.len() * 6 + data.bytes.len() + 1024);
    for branch in nodes.iter().flatten() {
        let address = address_of(*branch, nodes.len(), &offsets)?;
        if address >= RECORD_END {
            return Err(WriteError::TooLarge(address));
        }
        file.extend_from_slice(&address.to_be_bytes()[size_of::<usize>() - 3..]);
    }
    file.extend_from_slice(&SEPARATOR);
    file.append(&mut data.bytes);
    file.extend_from_slice(METADATA_MARKER);
    file.append(&mut metadata(about, nodes.len())?);
    Ok(file)
}

/// The tree that leads each of `networks` (first bits, their number, record) to its record; a later
/// network takes its part out of an earlier, larger one. Bits are counted from the highest of 128.
#[must_use]
pub fn tree(networks: &[(u128, u8, u32)]) -> Vec<[Branch; 2]> {
    let mut nodes = vec![[Branch::Empty; 2]];
    for &(bits, prefix_len, record) in networks {
        let mut at = 0;
        for depth in 0..prefix_len {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == prefix_len {
                nodes[at][side] = Branch::Record(record);
            } else if let Branch::Node(next) = nodes[at][side] {
                at = next as usize;
            } else {
                nodes.push([nodes[at][side]; 2]);
                let next = nodes.len() - 1;
                nodes[at][side] = Branch::Node(u32::try_from(next).unwrap_or(u32::MAX));
                at = next;
            }
        }
    }
    nodes
}

fn address_of(branch: Branch, node_count: usize, offsets: &[usize]) -> Result<usize, WriteError> {
    match branch {
        Branch::Empty => Some(node_count),
        Branch::Node(index) => Some(index as usize).filter(|index| *index < node_count),
        Branch::Record(index) => {
            offsets.get(index as usize).map(|offset| node_count + SEPARATOR.len() + offset)
        }
    }
    .ok_or(WriteError::Nowhere(branch))
}

fn metadata(about: &Description, node_count: usize) -> Result<Vec<u8>, WriteError> {
    let text = |text: &str| Value::Text(text.to_owned());
    let node_count = u32::try_from(node_count).map_err(|_| WriteError::TooLarge(node_count))?;
    let description = if about.text.is_empty() { vec![] } else { vec![("en", text(&about.text))] };
    // The map of the metadata stands first in it, so that nothing may be shared.
    let mut data = Data { names_inline: true, ..Data::default() };
    data.place(&Value::Map(vec![
        ("binary_format_major_version", Value::U16(2)),
        ("binary_format_minor_version", Value::U16(0)),
        ("build_epoch", Value::U64(about.build_epoch)),
        ("database_type", text(&about.database_type)),
        ("description", Value::Map(description)),
        ("ip_version", Value::U16(about.ip_version)),
        ("languages", Value::Array(vec![text("en")])),
        ("node_count", Value::U32(node_count)),
        ("record_size", Value::U16(24)),
    ]))?;
    Ok(data.bytes)
}

/// A data section as it grows.
#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
    /// Where each shared value stands, by its encoding.
    shared: HashMap<Vec<u8>, usize>,
    /// Whether the names of members stand where they are used.
    names_inline: bool,
}

impl Data {
    /// Writes `value`, unless it is a shared one that stands there already. Its offset.
    fn place(&mut self, value: &Value) -> Result<usize, WriteError> {
        if let Value::Shared(value) = value {
            return self.share(value);
        }
        let mut encoded = Vec::new();
        self.encode(value, &mut encoded)?;
        let offset = self.bytes.len();
        self.bytes.append(&mut encoded);
        Ok(offset)
    }

    fn share(&mut self, value: &Value) -> Result<usize, WriteError> {
        let mut encoded = Vec::new();
        self.encode(value, &mut encoded)?;
        if let Some(offset) = self.shared.get(&encoded) {
            return Ok(*offset);
        }
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&encoded);
        self.shared.insert(encoded, offset);
        Ok(offset)
    }

    /// Appends `value` to `to`; what it shares goes into the data section first.
    fn encode(&mut self, value: &Value, to: &mut Vec<u8>) -> Result<(), WriteError> {
        match value {
            Value::Map(members) => {
                head(7, members.len(), to)?;
                for (name, value) in members {
                    let name = Value::Text((*name).to_owned());
                    if self.names_inline {
                        self.encode(&name, to)?;
                    } else {
                        pointer(self.share(&name)?, to);
                    }
                    self.encode(value, to)?;
                }
            }
            Value::Array(values) => {
                head(11, values.len(), to)?;
                for value in values {
                    self.encode(value, to)?;
                }
            }
            Value::Text(text) => {
                head(2, text.len(), to)?;
                to.extend_from_slice(text.as_bytes());
            }
            Value::Double(number) => numeric(3, &number.to_be_bytes(), to)?,
            Value::Float(number) => numeric(15, &number.to_be_bytes(), to)?,
            Value::U16(number) => unsigned(5, u64::from(*number), to)?,
            Value::U32(number) => unsigned(6, u64::from(*number), to)?,
            Value::U64(number) => unsigned(9, *number, to)?,
            Value::Shared(value) => pointer(self.share(value)?, to),
        }
        Ok(())
    }
}

/// The control byte of a value of type `kind`, and what follows it for rare types and long values.
fn head(kind: u8, len: usize, to: &mut Vec<u8>) -> Result<(), WriteError> {
    let low_bytes = |number: usize, count: usize| {
        let bytes = number.to_be_bytes();
        bytes[bytes.len() - count..].to_vec()
    };
    let (size, tail) = match len {
        0..29 => (low_bytes(len, 1)[0], vec![]),
        29..285 => (29, low_bytes(len - 29, 1)),
        285..=LEN_MAX => (30, low_bytes(len - 285, 2)),
        _ => return Err(WriteError::TooLong(len)),
    };
    if kind < 8 {
        to.push(kind << 5 | size);
    } else {
        to.extend_from_slice(&[size, kind - 7]);
    }
    to.extend_from_slice(&tail);
    Ok(())
}

fn numeric(kind: u8, bytes: &[u8], to: &mut Vec<u8>) -> Result<(), WriteError> {
    head(kind, bytes.len(), to)?;
    to.extend_from_slice(bytes);
    Ok(())
}

fn unsigned(kind: u8, number: u64, to: &mut Vec<u8>) -> Result<(), WriteError> {
    let skipped = number.leading_zeros() as usize / 8;
    numeric(kind, &number.to_be_bytes()[skipped..], to)
}

/// A pointer to `offset` in the shortest of its four forms.
fn pointer(offset: usize, to: &mut Vec<u8>) {
    let (size, base, len) = match offset {
        0..2_048 => (0, 0, 1),
        2_048..526_336 => (1, 2_048, 2),
        526_336..134_744_064 => (2, 526_336, 3),
        _ => (3, 0, 4),
    };
    let bytes = (offset - base).to_be_bytes();
    let tail = &bytes[bytes.len() - len..];
    if size == 3 {
        to.push(0b0011_1000);
        to.extend_from_slice(tail);
    } else {
        let high = (offset - base) >> (8 * len) & 0b111;
        to.push(0b0010_0000 | size << 3 | high.to_be_bytes()[size_of::<usize>() - 1]);
        to.extend_from_slice(tail);
    }
}
