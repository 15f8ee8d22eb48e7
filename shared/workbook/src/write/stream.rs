//! Deflates the rows of a sheet on a separate thread, into an unnamed temporary file that disappears
//! when the process ends.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Bytes to send to the thread at once.
const BLOCK: usize = 256 << 10;
/// Blocks queued for the thread. A longer queue would only use more memory.
const IN_FLIGHT: usize = 3;

/// Deflated bytes that can be concatenated with others.
pub(super) struct Deflated {
    /// The file with the deflate blocks, none of which is marked as the last.
    pub(super) file: File,
    /// The deflated size in bytes.
    pub(super) compressed: u64,
    /// The checksum of the input.
    pub(super) crc: Crc,
    /// The size of the input in bytes.
    pub(super) bytes: u64,
}

/// Deflates bytes on a separate thread.
pub(super) struct DeflateStream {
    /// Bytes that have not been sent to the thread.
    pub(super) block: Vec<u8>,
    to_thread: SyncSender<Vec<u8>>,
    back: Receiver<Vec<u8>>,
    /// `None` once the thread has been joined.
    thread: Option<JoinHandle<io::Result<Deflated>>>,
}

impl DeflateStream {
    /// Starts a stream. Its file is in `directory`.
    pub(super) fn begin(directory: &Path, level: u32) -> io::Result<DeflateStream> {
        let file = tempfile::tempfile_in(directory)?;
        let (to_thread, blocks) = sync_channel::<Vec<u8>>(IN_FLIGHT);
        let (give_back, back) = sync_channel(IN_FLIGHT);
        let thread = std::thread::Builder::new()
            .name("rowmill-deflate".to_owned())
            .spawn(move || deflate_all(file, level, &blocks, &give_back))?;
        Ok(DeflateStream {
            block: Vec::with_capacity(BLOCK + (BLOCK >> 2)),
            to_thread,
            back,
            thread: Some(thread),
        })
    }

    /// Sends the block to the thread if it is full.
    pub(super) fn flush_full(&mut self) -> io::Result<()> {
        if self.block.len() < BLOCK {
            return Ok(());
        }
        let empty = self.back.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.block, empty);
        match self.to_thread.send(full) {
            Ok(()) => Ok(()),
            // The thread closes the channel only after an error. Report that error.
            Err(_) => Err(match join(self.thread.take()) {
                Err(error) => error,
                Ok(_) => io::ErrorKind::BrokenPipe.into(),
            }),
        }
    }

    /// Waits until all bytes have been written.
    pub(super) fn end(self) -> io::Result<Deflated> {
        let sent = self.to_thread.send(self.block);
        drop(self.to_thread);
        let deflated = join(self.thread)?;
        match sent {
            Ok(()) => Ok(deflated),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

fn join(thread: Option<JoinHandle<io::Result<Deflated>>>) -> io::Result<Deflated> {
    match thread.map(JoinHandle::join) {
        Some(Ok(deflated)) => deflated,
        Some(Err(_)) | None => Err(io::Error::other("compressing the rows failed")),
    }
}

fn deflate_all(
    mut file: File,
    level: u32,
    blocks: &Receiver<Vec<u8>>,
    give_back: &SyncSender<Vec<u8>>,
) -> io::Result<Deflated> {
    let mut compress = Compress::new(Compression::new(level), false);
    let mut crc = Crc::new();
    let mut out = Vec::with_capacity(BLOCK);
    let (mut bytes, mut compressed) = (0, 0);
    while let Ok(mut block) = blocks.recv() {
        crc.update(&block);
        bytes += block.len() as u64;
        deflate(&mut compress, &block, FlushCompress::None, &mut out)?;
        block.clear();
        // If the channel is full or closed, the block is freed instead of reused.
        let _ = give_back.try_send(block);
        compressed += out.len() as u64;
        file.write_all(&out)?;
        out.clear();
    }
    // Ends on a byte boundary, so that other blocks can follow.
    deflate(&mut compress, &[], FlushCompress::Sync, &mut out)?;
    compressed += out.len() as u64;
    file.write_all(&out)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(Deflated {
        file,
        compressed,
        crc,
        bytes,
    })
}

/// Deflates `bytes` in one call. `last` ends the deflate stream; otherwise other blocks can follow.
pub(super) fn deflate_whole(
    bytes: &[u8],
    level: u32,
    last: bool,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut compress = Compress::new(Compression::new(level), false);
    let flush = if last {
        FlushCompress::Finish
    } else {
        FlushCompress::Sync
    };
    deflate(&mut compress, bytes, flush, out)
}

fn deflate(
    compress: &mut Compress,
    mut bytes: &[u8],
    flush: FlushCompress,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    loop {
        // `compress_vec` does not grow the vector.
        out.reserve(bytes.len() / 4 + 4096);
        let before = compress.total_in();
        let status = compress
            .compress_vec(bytes, out, flush)
            .map_err(io::Error::other)?;
        bytes = &bytes[(compress.total_in() - before) as usize..];
        let room = out.capacity() > out.len();
        match status {
            Status::StreamEnd => return Ok(()),
            // If there is capacity left, all output has been written.
            _ if bytes.is_empty() && room && !matches!(flush, FlushCompress::Finish) => {
                return Ok(());
            }
            _ => {}
        }
    }
}
