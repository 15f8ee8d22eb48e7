//! How a pipeline's `[input]` sets the options of the workbook reader.

use rowmill_pipeline::Pipeline;
use rowmill_workbook::{ReadLimits, ReadOptions};

/// The options for reading a workbook that a pipeline sets under `[input]`, and the columns that it
/// mentions.
pub fn read_options(pipeline: &Pipeline) -> ReadOptions {
    let input = &pipeline.input;
    let mut limits = ReadLimits::default();
    for (name, value) in &input.limits {
        if let Some(limit) = limits.get_mut(name) {
            *limit = *value;
        }
    }
    ReadOptions {
        sheet: input.sheet.clone(),
        header_row: input.header_row,
        columns: pipeline.input_columns(),
        delimiter: input.delimiter,
        skip_hidden_rows: input.skip_hidden_rows,
        limits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelines_can_set_every_limit_and_document_its_default() {
        let mut limits = ReadLimits::default();
        let documented: Vec<(&str, &str)> = rowmill_pipeline::read_limits().collect();
        for (name, default) in &documented {
            let limit = limits.get_mut(name).expect(name);
            assert_eq!(limit.to_string(), *default, "{name}");
            *limit = 0;
        }
        let fields = format!("{limits:?}");
        assert_eq!(fields.matches(": 0").count(), documented.len(), "{fields}");
        assert_eq!(fields.matches(": ").count(), documented.len(), "{fields}");
    }
}
