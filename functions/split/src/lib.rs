//! Stage split: reads a workbook, cleans and profiles it, writes chunks and the manifest.
