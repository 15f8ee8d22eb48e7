//! Writes xls workbooks: BIFF5 and BIFF8 records (MS-XLS) in a compound file.

/// The version of a stream.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Biff {
    Five,
    Eight,
}

/// A record.
pub(crate) fn biff(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend((body.len() as u16).to_le_bytes());
    bytes.extend(body);
    bytes
}

/// 16-bit numbers as bytes.
pub(crate) fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// A cell: its position and style, and its value.
pub(crate) fn cell(kind: u16, row: u16, column: u16, style: u16, value: &[u8]) -> Vec<u8> {
    biff(kind, &[&words(&[row, column, style]), value].concat())
}

/// A number in its own record.
pub(crate) fn number(row: u16, column: u16, style: u16, number: f64) -> Vec<u8> {
    cell(0x0203, row, column, style, &number.to_le_bytes())
}

/// A text of BIFF8 in its own record.
pub(crate) fn label(row: u16, column: u16, text: &str) -> Vec<u8> {
    cell(0x0204, row, column, 0, &text8(text))
}

/// A text of BIFF5 in its own record.
pub(crate) fn label5(row: u16, column: u16, text: &[u8]) -> Vec<u8> {
    let length = (text.len() as u16).to_le_bytes();
    cell(0x0204, row, column, 0, &[&length, text].concat())
}

/// A text of BIFF8 with its length: in one byte per character if that is possible.
pub(crate) fn text8(text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut bytes = (units.len() as u16).to_le_bytes().to_vec();
    let wide = units.iter().any(|unit| *unit > 0xff);
    bytes.push(u8::from(wide));
    for unit in units {
        bytes.extend(&unit.to_le_bytes()[..if wide { 2 } else { 1 }]);
    }
    bytes
}

/// A formula with a result.
pub(crate) fn formula(row: u16, column: u16, style: u16, result: [u8; 8]) -> Vec<u8> {
    let parsed = [0, 0, 0, 0, 0, 0, 3, 0, 0x1e, 1, 0];
    cell(0x0006, row, column, style, &[&result[..], &parsed].concat())
}

/// The result of a formula that is not a number.
pub(crate) fn result(kind: u8, value: u8) -> [u8; 8] {
    [kind, 0, value, 0, 0, 0, 0xff, 0xff]
}

/// A number format.
pub(crate) fn format(version: Biff, id: u16, code: &str) -> Vec<u8> {
    let text = match version {
        Biff::Five => [&[code.len() as u8], code.as_bytes()].concat(),
        Biff::Eight => text8(code),
    };
    biff(0x041e, &[&id.to_le_bytes()[..], &text].concat())
}

/// Cell styles with these number formats.
pub(crate) fn styles(version: Biff, formats: &[u16]) -> Vec<u8> {
    let size = match version {
        Biff::Five => 16,
        Biff::Eight => 20,
    };
    let style = |format: &u16| {
        let mut body = words(&[0, *format]);
        body.resize(size, 0);
        biff(0x00e0, &body)
    };
    formats.iter().flat_map(style).collect()
}

/// A record that is split into it and others that continue it.
pub(crate) fn split(kind: u16, pieces: &[&[u8]]) -> Vec<u8> {
    let kinds = std::iter::once(kind).chain(std::iter::repeat(0x003c));
    kinds
        .zip(pieces)
        .flat_map(|(kind, piece)| biff(kind, piece))
        .collect()
}

/// The code page of a workbook.
pub(crate) fn code_page(number: u16) -> Vec<u8> {
    biff(0x0042, &number.to_le_bytes())
}

/// Shared strings, without the head of their record.
pub(crate) fn shared(texts: &[&str]) -> Vec<u8> {
    let count = (texts.len() as u32).to_le_bytes();
    let texts = texts.iter().flat_map(|text| text8(text));
    count.into_iter().chain(count).chain(texts).collect()
}

/// A workbook of BIFF8 with one sheet of these cells.
pub(crate) fn xls(cells: &[Vec<u8>]) -> Vec<u8> {
    book(Biff::Eight, &[], cells)
}

/// A workbook with one sheet.
pub(crate) fn book(version: Biff, globals: &[Vec<u8>], cells: &[Vec<u8>]) -> Vec<u8> {
    let name = match version {
        Biff::Five => "Book",
        Biff::Eight => "Workbook",
    };
    compound(&[(
        name,
        stream(version, &globals.concat(), &[("Data", 0, 0, cells)]),
    )])
}

/// The stream of a workbook: its globals and its sheets. Each has a name, 0 if it is visible, and a
/// kind, of which 0 has cells.
pub(crate) fn stream(
    version: Biff,
    globals: &[u8],
    sheets: &[(&str, u8, u8, &[Vec<u8>])],
) -> Vec<u8> {
    let bof = |kind: u16| match version {
        Biff::Five => biff(0x0809, &words(&[0x0500, kind, 0, 0])),
        Biff::Eight => biff(0x0809, &words(&[0x0600, kind, 0, 0, 0, 0, 0, 0])),
    };
    let end = biff(0x000a, &[]);
    let listed = |at: usize, name: &str, hidden: u8, kind: u8| {
        let mut body = (at as u32).to_le_bytes().to_vec();
        body.extend([hidden, kind, name.len() as u8]);
        body.extend((version == Biff::Eight).then_some(0));
        body.extend(name.as_bytes());
        biff(0x0085, &body)
    };
    let list: usize = sheets.iter().map(|s| listed(0, s.0, 0, 0).len()).sum();
    let mut bytes = [&bof(5), globals].concat();
    let mut at = bytes.len() + list + end.len();
    let mut bodies = Vec::new();
    for (name, hidden, kind, cells) in sheets {
        bytes.extend(listed(at, name, *hidden, *kind));
        let body = [
            bof(if *kind == 2 { 32 } else { 16 }),
            cells.concat(),
            end.clone(),
        ]
        .concat();
        at += body.len();
        bodies.extend(body);
    }
    [bytes, end, bodies].concat()
}

const SECTOR: usize = 512;
const SMALL: usize = 64;
const END_OF_CHAIN: u32 = 0xffff_fffe;

/// A compound file with these streams. Each is padded to at least 4,096 bytes, because smaller ones are
/// stored in another way.
pub(crate) fn compound(streams: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut table = Table::default();
    let padded = streams.iter().map(|(name, stream)| {
        let size = stream.len().max(4096);
        (*name, table.add(stream, size), size)
    });
    let entries: Vec<_> = padded.collect();
    table.file(&entries, END_OF_CHAIN, 0, END_OF_CHAIN)
}

/// A compound file with these streams, all of which are small: they share one stream.
pub(crate) fn small_compound(streams: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut table = Table::default();
    let (mut shared, mut chains, mut entries) = (Vec::new(), Vec::<u32>::new(), Vec::new());
    for (name, stream) in streams {
        assert!(stream.len() < 4096, "it is not small");
        let start = chains.len() as u32;
        let count = stream.len().div_ceil(SMALL) as u32;
        chains.extend((start + 1..start + count).chain([END_OF_CHAIN]));
        shared.extend(stream);
        shared.resize(chains.len() * SMALL, 0);
        entries.push((*name, start, stream.len()));
    }
    let chains: Vec<u8> = chains.iter().flat_map(|s| s.to_le_bytes()).collect();
    let chains = table.add(&chains, chains.len());
    let root = table.add(&shared, shared.len());
    table.file(&entries, root, shared.len(), chains)
}

/// The sectors of a compound file: its allocation table and their content.
#[derive(Default)]
struct Table {
    chains: Vec<u32>,
    content: Vec<u8>,
}

impl Table {
    /// Adds a chain of sectors and returns the first.
    fn add(&mut self, bytes: &[u8], size: usize) -> u32 {
        let start = self.chains.len() as u32;
        let count = size.div_ceil(SECTOR) as u32;
        self.chains
            .extend((start + 1..start + count).chain([END_OF_CHAIN]));
        self.content.extend(bytes);
        self.content.resize(self.chains.len() * SECTOR, 0);
        start
    }

    /// The file with these streams: their names, starts and sizes. `root` is the stream that the small
    /// ones share, and `small` the table of its chains.
    fn file(
        mut self,
        streams: &[(&str, u32, usize)],
        root: u32,
        size: usize,
        small: u32,
    ) -> Vec<u8> {
        let mut directory = Vec::new();
        let mut entry = |name: &str, kind: u8, child: u32, start: u32, size: usize| {
            let mut bytes = vec![0u8; 128];
            let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            bytes[..units.len()].copy_from_slice(&units);
            bytes[64] = units.len() as u8 + 2;
            bytes[66] = kind;
            bytes[67] = 1;
            let numbers = [(68, u32::MAX), (72, u32::MAX), (76, child), (116, start)];
            for (at, value) in [&numbers[..], &[(120, size as u32)]].concat() {
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            directory.extend(bytes);
        };
        entry("Root Entry", 5, 1, root, size);
        for (name, start, size) in streams {
            entry(name, 2, u32::MAX, *start, *size);
        }
        let directory = self.add(&directory, directory.len());

        // The table also covers its own sectors, which are at the end.
        let first = self.chains.len();
        let mut count = 1;
        while (first + count) * 4 > count * SECTOR {
            count += 1;
        }
        assert!(count <= 109, "more needs a table of tables");
        self.chains.extend(vec![0xffff_fffd; count]);
        self.chains.resize(count * SECTOR / 4, u32::MAX);

        let mut header = vec![0u8; SECTOR];
        header[..8].copy_from_slice(&[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]);
        for (at, value) in [(24, 0x3e), (26, 3), (28, 0xfffe), (30, 9), (32, 6)] {
            header[at..at + 2].copy_from_slice(&u16::to_le_bytes(value));
        }
        let mut set = |at: usize, v: u32| header[at..at + 4].copy_from_slice(&v.to_le_bytes());
        set(44, count as u32);
        set(48, directory);
        set(56, 4096);
        set(60, small);
        set(64, u32::from(small != END_OF_CHAIN));
        set(68, END_OF_CHAIN);
        for i in 0..109 {
            set(
                76 + 4 * i,
                if i < count {
                    (first + i) as u32
                } else {
                    u32::MAX
                },
            );
        }
        let table = self.chains.iter().flat_map(|s| s.to_le_bytes()).collect();
        [header, self.content, table].concat()
    }
}

/// The stream with the custom properties of a document (MS-OLEPS).
pub(crate) fn properties(custom: &[(&str, &str)]) -> Vec<u8> {
    let number = |n: usize| (n as u32).to_le_bytes();
    let text = |text: &str| {
        let bytes = [text.as_bytes(), &[0]].concat();
        [&number(bytes.len())[..], &bytes].concat()
    };
    let mut values = vec![(1, [number(2), number(1252)].concat())];
    let names = (2..)
        .zip(custom)
        .flat_map(|(id, (name, _))| [&number(id)[..], &text(name)].concat());
    values.insert(
        0,
        (
            0,
            [&number(custom.len())[..], &names.collect::<Vec<u8>>()].concat(),
        ),
    );
    for (id, (_, value)) in (2..).zip(custom) {
        values.push((id, [&number(0x1e)[..], &text(value)].concat()));
    }
    let (mut list, mut body) = (Vec::new(), Vec::new());
    for (id, mut value) in values.iter().cloned() {
        list.extend([number(id), number(8 + 8 * values.len() + body.len())].concat());
        value.resize(value.len().next_multiple_of(4), 0);
        body.extend(value);
    }
    let size = 8 + list.len() + body.len();
    let kind = [
        0x05, 0xd5, 0xcd, 0xd5, 0x9c, 0x2e, 0x1b, 0x10, 0x93, 0x97, 0x08, 0x00, 0x2b, 0x2c, 0xf9,
        0xae,
    ];
    let head = [
        &[0xfe, 0xff, 0, 0, 5, 1, 2, 0][..],
        &[0; 16],
        &number(1),
        &kind,
        &number(48),
    ];
    let set = [&number(size)[..], &number(values.len()), &list, &body];
    [head.concat(), set.concat()].concat()
}
