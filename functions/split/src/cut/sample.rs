//! The first records of a cut, for previews.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};

use rowmill_domain::{Columns, Record};

use super::records::Cut;

impl Cut {
    /// At most `records` of the first records, with their columns.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn sample(&self, records: usize) -> io::Result<(Columns, Vec<Record>)> {
        let columns = Columns::new(self.columns.iter().map(|column| &column.name));
        let spool = BufReader::new(File::open(self.spool())?);
        let sample = spool
            .split(b'\n')
            .take(records)
            .map(|line| Ok(Record::read_json(&line?, &columns)?))
            .collect::<io::Result<_>>()?;
        Ok((columns, sample))
    }
}
