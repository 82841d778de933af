//! safetensors files from descriptions: names, types, shapes and lengths that agree, but for what an input changes.

use crate::source::Source;
use belamy_tensor::{DType, Tensor};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;

/// A tensor of a file.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its type, as safetensors names it.
    pub dtype: &'static str,
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub data: Vec<u8>,
    /// What the header says of it, up to its place, once somebody has asked.
    head: OnceCell<String>,
}

/// A file's tensors. Most of an edited file's are those of the sound one.
pub type Entries = Vec<Rc<Entry>>;

/// Types, and the bits of a number.
const DTYPES: [(&str, usize); 12] = [
    ("F32", 32),
    ("F64", 64),
    ("U32", 32),
    ("I32", 32),
    ("I64", 64),
    ("F16", 16),
    ("BF16", 16),
    ("U8", 8),
    ("BOOL", 8),
    ("U64", 64),
    ("F8_E4M3", 8),
    ("F4", 4),
];
/// Larger tensors say nothing new.
const MOST: usize = 1 << 12;

impl Entry {
    /// A tensor of f32 whose numbers are small.
    pub fn of_f32(name: &str, shape: &[usize]) -> Entry {
        let count: usize = shape.iter().product();
        let data =
            (0..count).flat_map(|index| (0.25 + index as f32 / 64.0).to_le_bytes()).collect();
        let (name, shape, head) = (name.to_owned(), shape.to_vec(), OnceCell::new());
        Entry { name, dtype: "F32", shape, data, head }
    }

    /// The tensors of a file that was read.
    pub fn of_file(tensors: &BTreeMap<String, Tensor>) -> Entries {
        let entry = |(name, tensor): (&String, &Tensor)| {
            let numbers = tensor.to_f64().expect("the processor's own");
            let (dtype, data) = match tensor.dtype() {
                DType::F32 => {
                    ("F32", numbers.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect())
                }
                DType::F64 => ("F64", numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
                DType::U32 => {
                    ("U32", numbers.iter().flat_map(|x| (*x as u32).to_le_bytes()).collect())
                }
            };
            let (name, shape, head) = (name.clone(), tensor.dims().to_vec(), OnceCell::new());
            Rc::new(Entry { name, dtype, shape, data, head })
        };
        tensors.iter().map(entry).collect()
    }

    /// As many bytes as type and shape ask for.
    fn fit(&mut self) {
        let bits = DTYPES.iter().find(|(name, _)| *name == self.dtype).map_or(8, |(_, bits)| *bits);
        let count =
            self.shape.iter().try_fold(1usize, |product, extent| product.checked_mul(*extent));
        let length = count.filter(|count| *count <= MOST).map_or(0, |count| count * bits / 8);
        self.data.resize(length, 0);
    }

    /// An entry to be changed, which is then nobody else's.
    fn changed(shared: &mut Rc<Entry>) -> &mut Entry {
        let entry = Rc::make_mut(shared);
        entry.head.take();
        entry
    }

    fn head(&self) -> &str {
        self.head.get_or_init(|| {
            let Entry { name, dtype, shape, .. } = self;
            let name = serde_json::Value::from(name.as_str());
            format!("{name}:{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[")
        })
    }
}

/// A safetensors file.
pub fn file(entries: &[Rc<Entry>]) -> Vec<u8> {
    let mut header = String::from("{");
    let mut end = 0;
    for entry in entries {
        let start = end;
        end += entry.data.len();
        if header.len() > 1 {
            header.push(',');
        }
        header.push_str(entry.head());
        write!(header, "{start},{end}]}}").expect("memory takes everything");
    }
    header.push('}');
    let mut bytes = Vec::with_capacity(8 + header.len() + end);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    entries.iter().for_each(|entry| bytes.extend(&entry.data));
    bytes
}

/// A file of a sound one's tensors after edits: tensors that go, come, or change their name, type, shape or numbers.
pub fn edited(base: &[Rc<Entry>], source: &mut Source<'_>) -> Vec<u8> {
    let mut entries = base.to_vec();
    while !source.is_empty() && entries.len() <= base.len() + 16 {
        let choice = source.byte();
        let at = source.choice(entries.len());
        let Some(shared) = entries.get_mut(at) else {
            entries.push(Rc::new(Entry::of_f32("x", &[1])));
            continue;
        };
        match choice % 8 {
            0 => drop(entries.remove(at)),
            1 => {
                let entry = Entry::changed(shared);
                entry.dtype = DTYPES[source.choice(DTYPES.len())].0;
                entry.fit();
            }
            2 => {
                let entry = Entry::changed(shared);
                let rank = source.choice(9);
                entry.shape = (0..rank).map(|_| source.byte().into()).collect();
                entry.fit();
            }
            3 => {
                let (one, other) = (source.choice(6), source.choice(6));
                if one.max(other) < shared.shape.len() {
                    Entry::changed(shared).shape.swap(one, other);
                }
            }
            4 => Entry::changed(shared).name = source.text(),
            5 => {
                let place = source.choice(shared.name.len() + 1);
                if shared.name.is_char_boundary(place) {
                    Entry::changed(shared).name.insert_str(place, &source.text());
                }
            }
            6 => {
                let other = Rc::clone(shared);
                entries.push(other);
            }
            _ => {
                let place = source.choice(shared.data.len() + 1);
                let data = &mut Entry::changed(shared).data;
                let numbers = source.short();
                data.iter_mut().skip(place).zip(numbers).for_each(|(old, new)| *old = *new);
            }
        }
    }
    file(&entries)
}

/// A file of a header as it stands, with its length before it and as many bytes behind it as it promises.
pub fn with_lengths(header: &[u8]) -> Vec<u8> {
    let parsed = serde_json::from_slice::<serde_json::Map<_, serde_json::Value>>(header);
    let end = |entry: &serde_json::Value| entry.get("data_offsets")?.get(1)?.as_u64();
    let length = parsed.unwrap_or_default().values().filter_map(end).max().unwrap_or(0);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.resize(bytes.len() + length.min(1 << 14) as usize, 0);
    bytes
}

/// The file that an input stands for: as it is, a header, or edits of one of some sound files.
pub fn chosen(bases: &[Entries], source: &mut Source<'_>) -> Vec<u8> {
    match source.choice(bases.len() + 2) {
        0 => source.rest().to_vec(),
        1 => with_lengths(source.rest()),
        choice => edited(&bases[choice - 2], source),
    }
}

/// Inputs that [`chosen`] makes sound files of.
pub fn seeds(bases: &[Entries]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (index, base) in bases.iter().enumerate() {
        let whole = file(base);
        let header = usize::from(u16::from_le_bytes([whole[0], whole[1]]));
        seeds.push([&[0], &whole[..]].concat());
        seeds.push([&[1], &whole[8..8 + header]].concat());
        seeds.push(vec![index as u8 + 2]);
        let changes: [&[u8]; 7] = [
            &[0, 0],
            &[1, 0, 1],
            &[2, 0, 0],
            &[2, 0, 1, 3],
            &[3, 0, 0, 1],
            &[4, 0, 1, b'x'],
            &[6, 1],
        ];
        for change in changes {
            seeds.push([&[index as u8 + 2][..], change].concat());
        }
        seeds.push([&[index as u8 + 2, 7, 0, 0, 4][..], &f32::NAN.to_le_bytes()].concat());
    }
    seeds
}
