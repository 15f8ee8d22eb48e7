//! The first records of a cut, for previews.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};

use rowmill_domain::{Columns, Record};

use super::records::Cut;
use super::spool::piece_file;

impl Cut {
    /// At most `records` of the first records, with their columns.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn sample(&self, records: usize) -> io::Result<(Columns, Vec<Record>)> {
        let columns = Columns::new(self.columns.iter().map(|column| &column.name));
        let mut sample = Vec::new();
        for piece in 0..self.pieces.len() {
            let file = File::open(piece_file(self.scratch.path(), piece))?;
            let lines = BufReader::new(file).split(b'\n');
            for line in lines.take(records - sample.len()) {
                sample.push(Record::read_json(&line?, &columns)?);
            }
        }
        Ok((columns, sample))
    }
}
