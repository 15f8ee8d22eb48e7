//! Decrypts workbooks that Excel opens without asking for a password, because they are encrypted with
//! its default one: Excel does so if only the structure of a workbook is protected.
//! Algorithms: MS-XLS 2.2.10 and MS-OFFCRYPTO 2.3.5 to 2.3.7.

use md5::{Digest, Md5};
use rc4::{KeyInit, Rc4, StreamCipher};
use sha1::Sha1;

use super::globals::Version;
use super::records::{BEGIN, END, Record, Records, Wrong};

/// The default password (MS-OFFCRYPTO 2.4.2.3).
const PASSWORD: &str = "VelvetSweatshop";

const FILE_PASS: u16 = 0x002f;
const SHEET: u16 = 0x0085;
/// Records whose bodies are never encrypted (MS-XLS 2.2.10).
const PLAIN: [u16; 7] = [BEGIN, FILE_PASS, 0x00e1, 0x0138, 0x0194, 0x0195, 0x0196];

/// Bytes of the stream that RC4 encrypts with the same key.
const BLOCK: usize = 1024;

/// Decrypts the records of a stream, if they are encrypted. `false` if it needs a password.
pub(super) fn decrypt(stream: &mut [u8], version: Version) -> Result<bool, Wrong> {
    let mut records = Records::new(stream, 0);
    let start = loop {
        let record = records.next()?;
        match record.id {
            FILE_PASS => break record,
            END => return Ok(true),
            _ => {}
        }
    };
    let Some(mut cipher) = Cipher::new(&start, version)? else {
        return Ok(false);
    };
    let mut at = start.at + 4 + start.body.len();
    while let Ok(record) = Records::new(stream, at).next() {
        let (id, begin) = (record.id, at + 4);
        at = begin + record.body.len();
        if PLAIN.contains(&id) {
            continue;
        }
        // The offset of a sheet is not encrypted.
        let plain = if id == SHEET { 4 } else { 0 };
        let length = at - begin;
        for (i, byte) in stream[begin..at].iter_mut().enumerate().skip(plain) {
            *byte = cipher.decrypt(*byte, begin, length, i);
        }
    }
    Ok(true)
}

/// How a stream is encrypted.
enum Cipher {
    /// Each byte is rotated, then combined with a byte of the key.
    Xor([u8; 16]),
    Rc4 {
        hash: Hash,
        /// The block of the stream whose key stream is in `key_stream`.
        block: usize,
        key_stream: Box<[u8; BLOCK]>,
    },
}

/// What the key of a block is derived from.
enum Hash {
    /// RC4 with keys of 40 bits.
    Md5([u8; 5]),
    /// RC4 of CryptoAPI: the hash, and the number of bytes in a key.
    Sha1([u8; 20], usize),
}

impl Cipher {
    /// The cipher that the record describes, with the default password. `None` if the password is
    /// another one, or the encryption is not known.
    fn new(record: &Record<'_>, version: Version) -> Result<Option<Cipher>, Wrong> {
        if version == Version::Biff5 {
            return Ok(Cipher::xor(record.u16(0)?, record.u16(2)?));
        }
        Ok(match (record.u16(0)?, record.u16(2)?) {
            (0, _) => Cipher::xor(record.u16(2)?, record.u16(4)?),
            (1, 1) => {
                let field = |at: usize| record.body.get(at..at + 16);
                let (Some(salt), Some(verifier), Some(want)) = (field(6), field(22), field(38))
                else {
                    return Err("its encryption is incomplete".into());
                };
                Cipher::rc4(md5_hash(salt), verifier, want, |plain| {
                    Md5::digest(plain).to_vec()
                })
            }
            (1, 2..=4) => crypto_api(record)?,
            _ => None,
        })
    }

    /// The cipher of obfuscated files, whose key is stored with a verifier of the password.
    fn xor(key: u16, verifier: u16) -> Option<Cipher> {
        let rotated = |hash: u16| (hash >> 14 & 1) | (hash << 1 & 0x7fff);
        let hash = PASSWORD
            .bytes()
            .rev()
            .fold(0, |hash, byte| rotated(hash) ^ u16::from(byte));
        if rotated(hash) ^ PASSWORD.len() as u16 ^ 0xce4b != verifier {
            return None;
        }
        // The password is as long as a key can be but for one byte, which is filled.
        let mut bytes = [0xbb; 16];
        bytes[..PASSWORD.len()].copy_from_slice(PASSWORD.as_bytes());
        let key = key.to_le_bytes();
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = (*byte ^ key[i % 2]).rotate_left(2);
        }
        Some(Cipher::Xor(bytes))
    }

    /// The cipher with keys from `hash`, if it decrypts the verifier to what hashes to `want`.
    fn rc4(
        hash: Hash,
        verifier: &[u8],
        want: &[u8],
        digest: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Option<Cipher> {
        let key_stream = hash.key_stream(0)?;
        let plain = |bytes: &[u8], from: usize| -> Vec<u8> {
            let keys = &key_stream[from..];
            bytes
                .iter()
                .zip(keys)
                .map(|(byte, key)| byte ^ key)
                .collect()
        };
        let right = digest(&plain(verifier, 0)) == plain(want, verifier.len());
        right.then_some(Cipher::Rc4 {
            hash,
            block: 0,
            key_stream: Box::new(key_stream),
        })
    }

    /// Decrypts byte `i` of a body that begins at an offset.
    fn decrypt(&mut self, byte: u8, begin: usize, length: usize, i: usize) -> u8 {
        match self {
            Cipher::Xor(key) => byte.rotate_left(3) ^ key[(begin + length + i) % 16],
            Cipher::Rc4 {
                hash,
                block,
                key_stream,
            } => {
                let at = begin + i;
                if at / BLOCK != *block
                    && let Some(next) = hash.key_stream(at / BLOCK)
                {
                    *block = at / BLOCK;
                    **key_stream = next;
                }
                byte ^ key_stream[at % BLOCK]
            }
        }
    }
}

impl Hash {
    /// The key stream of a block. `None` if RC4 has no keys of that length.
    fn key_stream(&self, block: usize) -> Option<[u8; BLOCK]> {
        let block = (block as u32).to_le_bytes();
        let mut cipher = match self {
            Hash::Md5(hash) => Rc4::new_from_slice(&Md5::digest([&hash[..], &block].concat())),
            Hash::Sha1(hash, length) => {
                let key = Sha1::digest([&hash[..], &block].concat());
                // A key of 40 bits is extended with zeros.
                let mut key = key.get(..*length)?.to_vec();
                if key.len() == 5 {
                    key.resize(16, 0);
                }
                Rc4::new_from_slice(&key)
            }
        }
        .ok()?;
        let mut key_stream = [0; BLOCK];
        cipher.apply_keystream(&mut key_stream);
        Some(key_stream)
    }
}

/// The password as the hashes use it.
fn password() -> Vec<u8> {
    PASSWORD.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn md5_hash(salt: &[u8]) -> Hash {
    let password = Md5::digest(password());
    let salted = [&password[..5], salt].concat().repeat(16);
    let mut hash = [0; 5];
    hash.copy_from_slice(&Md5::digest(salted)[..5]);
    Hash::Md5(hash)
}

/// The cipher of CryptoAPI.
fn crypto_api(record: &Record<'_>) -> Result<Option<Cipher>, Wrong> {
    const RC4: u32 = 0x6801;
    const SHA1: u32 = 0x8004;
    // The version and flags precede the length of the header, and the header precedes the verifier.
    let (algorithm, hashes, bits) = (record.u32(22)?, record.u32(26)?, record.u32(30)?);
    if algorithm != RC4 || !(hashes == SHA1 || hashes == 0) {
        return Ok(None);
    }
    // The default length of a key is 40 bits.
    let length = if bits == 0 { 5 } else { bits as usize / 8 };
    let incomplete = "its encryption is incomplete";
    let header = usize::try_from(record.u32(10)?).map_err(|_| incomplete)?;
    let verifier = record.body.get(14..).and_then(|body| body.get(header..));
    let field = |from: usize, length: usize| verifier?.get(from..from + length);
    let (Some(salt), Some(encrypted), Some(want)) = (field(4, 16), field(20, 16), field(40, 20))
    else {
        return Err(incomplete.into());
    };
    let hash = Sha1::digest([salt, &password()].concat());
    Ok(Cipher::rc4(
        Hash::Sha1(hash.into(), length),
        encrypted,
        want,
        |plain| Sha1::digest(plain).to_vec(),
    ))
}
