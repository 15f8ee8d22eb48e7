//! Tests that rows before and after the header is known, and in pieces of any size, have the values that
//! a plain parser finds.

use std::path::Path;
use std::sync::mpsc;

use proptest::prelude::*;
use rowmill_domain::Value;

use super::*;
use crate::read::rows::RowMessage;
use crate::read::sink::Cell;

/// Rows after which the header is decided on.
const LOOKAHEAD: usize = 1000;

/// The rows that have a value, with their numbers. Values right of the columns follow the others.
type Rows = Vec<(u32, Vec<String>)>;

fn read(text: &str, piece: usize) -> Rows {
    let (to_sink, from_reader) = mpsc::sync_channel(1 << 12);
    let (_keep, returned) = mpsc::sync_channel(1);
    let options = ReadOptions {
        delimiter: Some(Delimiter::Character(b',')),
        header_row: Some(1),
        ..ReadOptions::default()
    };
    let path = Path::new("x.csv");
    let mut rows = Assembler::new(path, &options, to_sink, returned);
    let mut parser = Parser::new(path, &options, text, true);
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = piece.min(rest.len());
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        parser.feed(&rest[..end], &mut rows).unwrap();
        rest = &rest[end..];
    }
    parser.end(&mut rows).unwrap();
    rows.finish(&|_| None).unwrap();
    drop(rows);
    let mut all = Rows::new();
    for message in from_reader {
        match message {
            RowMessage::Rows(batch) => {
                let width = (batch.cells.len() + batch.ends.len()) / batch.numbers.len();
                let mut start = 0;
                let ends = batch.ends.iter().map(|end| {
                    let text = batch.text[start..*end].to_owned();
                    start = *end;
                    text
                });
                let texts: Vec<String> = batch.cells.iter().map(shown).chain(ends).collect();
                let rows = batch.numbers.iter().zip(texts.chunks(width));
                all.extend(rows.map(|(number, texts)| (*number, texts.to_vec())));
            }
            RowMessage::Overflow(number, cells, outside) => {
                let outside = outside.iter().map(|outside| &outside.cell);
                all.push((number, cells.iter().chain(outside).map(shown).collect()));
            }
            RowMessage::Header(_) | RowMessage::Restart(_) => {}
        }
    }
    all
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Value(Value::Text(text)) => text.clone(),
        Cell::Empty => String::new(),
        other => panic!("{other:?}"),
    }
}

/// Character by character.
fn plain(text: &str) -> Rows {
    let mut rows = vec![vec![String::new()]];
    let mut characters = text.chars().peekable();
    let (mut quoted, mut start) = (false, true);
    while let Some(c) = characters.next() {
        let field = rows.last_mut().unwrap().last_mut().unwrap();
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            _ if quoted => field.push(c),
            '"' if start => (quoted, start) = (true, false),
            ',' => {
                rows.last_mut().unwrap().push(String::new());
                start = true;
            }
            '\r' | '\n' => {
                if c == '\r' && characters.peek() == Some(&'\n') {
                    characters.next();
                }
                rows.push(vec![String::new()]);
                start = true;
            }
            _ => {
                field.push(c);
                start = false;
            }
        }
    }
    let mut numbered: Rows = (1..).zip(rows).skip(1).collect();
    numbered.retain(|(_, texts)| texts.iter().any(|text| !text.is_empty()));
    numbered
}

/// Without empty texts at the end, and those right of the third without empty ones.
fn trimmed(rows: Rows) -> Rows {
    let row = |(number, texts): (u32, Vec<String>)| {
        let keep = |(at, text): &(usize, String)| *at < 3 || !text.is_empty();
        let mut texts: Vec<String> = texts
            .into_iter()
            .enumerate()
            .filter(keep)
            .map(|(_, text)| text)
            .collect();
        while texts.last().is_some_and(String::is_empty) {
            texts.pop();
        }
        (number, texts)
    };
    rows.into_iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn records_have_the_values_that_a_plain_parser_finds(
        records in proptest::collection::vec(
            "(([a-zß ]{0,9}|\"([a-zß,\r\n]|\"\"){0,9}\"|[a-z]\"[a-z]|\"a\"b)(,|,|,|\r\n|\n|\r)){0,9}",
            1..6,
        ),
        ahead: bool,
        piece in 1_usize..40,
    ) {
        let before = "1,2,3\n".repeat(if ahead { LOOKAHEAD } else { 0 });
        let text = format!("a,b,c\n{before}{}", records.concat());
        prop_assert_eq!(trimmed(read(&text, piece)), trimmed(plain(&text)));
    }
}
