//! A sheet's rows on their way to disk: deflated on a thread of their own while the next ones are
//! made, into a file without a name, which is gone when the process is.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Bytes handed to the thread at once.
const BLOCK: usize = 256 << 10;
/// Blocks on their way; more would only wait.
const IN_FLIGHT: usize = 3;

/// Deflated bytes that can stand before, between and after others.
pub(super) struct Deflated {
    /// The deflate blocks, from the file's start on; without a last one.
    pub(super) file: File,
    /// How many bytes they are.
    pub(super) compressed: u64,
    /// Checksum of what was deflated.
    pub(super) crc: Crc,
    /// Its length.
    pub(super) bytes: u64,
}

/// Takes bytes and deflates them.
pub(super) struct Stream {
    /// Bytes not handed over yet.
    pub(super) block: Vec<u8>,
    to_thread: SyncSender<Vec<u8>>,
    back: Receiver<Vec<u8>>,
    /// Gone once its end is known.
    thread: Option<JoinHandle<io::Result<Deflated>>>,
}

impl Stream {
    /// Begins one; its file lies in `directory`.
    pub(super) fn begin(directory: &Path, level: u32) -> io::Result<Stream> {
        let file = tempfile::tempfile_in(directory)?;
        let (to_thread, blocks) = sync_channel::<Vec<u8>>(IN_FLIGHT);
        let (give_back, back) = sync_channel(IN_FLIGHT);
        let thread = std::thread::Builder::new()
            .name("rowmill-deflate".to_owned())
            .spawn(move || deflate_all(file, level, &blocks, &give_back))?;
        Ok(Stream {
            block: Vec::with_capacity(BLOCK + (BLOCK >> 2)),
            to_thread,
            back,
            thread: Some(thread),
        })
    }

    /// Hands the block over where it is full.
    pub(super) fn pass_on(&mut self) -> io::Result<()> {
        if self.block.len() < BLOCK {
            return Ok(());
        }
        let empty = self.back.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.block, empty);
        match self.to_thread.send(full) {
            Ok(()) => Ok(()),
            // The thread only hangs up on an error: its own says more.
            Err(_) => Err(match join(self.thread.take()) {
                Err(error) => error,
                Ok(_) => io::ErrorKind::BrokenPipe.into(),
            }),
        }
    }

    /// Waits until all is on disk.
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
        Some(Err(_)) | None => Err(io::Error::other("the rows could not be deflated")),
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
        // A full or closed channel only costs the block's memory.
        let _ = give_back.try_send(block);
        compressed += out.len() as u64;
        file.write_all(&out)?;
        out.clear();
    }
    // Ends on a whole byte, so that other blocks can follow.
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

/// Deflates bytes at once: blocks that others follow, or (`last`) that end the stream.
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
        // `compress_vec` only fills the room there is.
        out.reserve(bytes.len() / 4 + 4096);
        let before = compress.total_in();
        let status = compress
            .compress_vec(bytes, out, flush)
            .map_err(io::Error::other)?;
        bytes = &bytes[(compress.total_in() - before) as usize..];
        let room = out.capacity() > out.len();
        match status {
            Status::StreamEnd => return Ok(()),
            // With room left there is nothing more to come.
            _ if bytes.is_empty() && room && !matches!(flush, FlushCompress::Finish) => {
                return Ok(());
            }
            _ => {}
        }
    }
}
