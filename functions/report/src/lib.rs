//! Stage report: the result workbook and the mail, once all jobs are terminal.
