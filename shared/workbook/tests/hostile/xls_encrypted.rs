//! xls files that are encrypted. Excel opens those with its default password without asking.

use md5::{Digest, Md5};
use rc4::{KeyInit, Rc4, StreamCipher};
use sha1::Sha1;

use crate::Table;
use crate::files::xls::{Biff, biff, compound, label, label5, number, stream, words};

const DEFAULT: &str = "VelvetSweatshop";

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The key stream of a stream, with the key of each block of 1,024 bytes.
fn key_stream(length: usize, key: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = vec![0; length.next_multiple_of(1024)];
    for (block, bytes) in (0..).zip(bytes.chunks_mut(1024)) {
        let mut cipher = Rc4::new_from_slice(&key(block)).unwrap();
        cipher.apply_keystream(bytes);
    }
    bytes
}

fn xor(bytes: &[u8], keys: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .zip(keys)
        .map(|(byte, key)| byte ^ key)
        .collect()
}

/// Encrypts the bodies of the records behind FILEPASS. `byte` encrypts a byte at an offset, in a body
/// that begins at another offset and has a length.
fn encrypt(stream: &mut [u8], byte: impl Fn(u8, usize, usize, usize) -> u8) {
    let (mut at, mut encrypted) = (0, false);
    while at + 4 <= stream.len() {
        let word = |at: usize| u16::from_le_bytes([stream[at], stream[at + 1]]);
        let (kind, length, begin) = (word(at), usize::from(word(at + 2)), at + 4);
        at = begin + length;
        match kind {
            0x002f => encrypted = true,
            0x0809 => {}
            _ if encrypted => {
                let plain = if kind == 0x0085 { 4 } else { 0 };
                for (at, value) in (begin..).zip(&mut stream[begin..at]).skip(plain) {
                    *value = byte(*value, at, begin, length);
                }
            }
            _ => {}
        }
    }
}

/// A stream with this FILEPASS. Its cells reach into the second block of the stream.
fn plain(version: Biff, file_pass: &[u8]) -> Vec<u8> {
    let globals = [biff(0x002f, file_pass), biff(0x0042, &[0xe4, 4])].concat();
    let head = match version {
        Biff::Five => label5(0, 0, b"A"),
        Biff::Eight => label(0, 0, "A"),
    };
    let mut cells = vec![head];
    cells.extend((1..100).map(|row| number(row, 0, 0, f64::from(row) / 4.0)));
    stream(version, &globals, &[("Data", 0, 0, &cells)])
}

/// Encrypted with RC4 and keys of 40 bits from MD5.
fn rc4(password: &str) -> Vec<u8> {
    let salt = [7; 16];
    let hash = Md5::digest(utf16(password));
    let hash = Md5::digest([&hash[..5], &salt].concat().repeat(16));
    let key = |block: u32| Md5::digest([&hash[..5], &block.to_le_bytes()].concat()).to_vec();
    let verifier = [3; 16];
    let proof = [&verifier[..], &Md5::digest(verifier)].concat();
    let file_pass = [
        &words(&[1, 1, 1])[..],
        &salt,
        &xor(&proof, &key_stream(32, key)),
    ]
    .concat();
    let mut stream = plain(Biff::Eight, &file_pass);
    let keys = key_stream(stream.len(), key);
    encrypt(&mut stream, |byte, at, _, _| byte ^ keys[at]);
    compound(&[("Workbook", stream)])
}

/// Encrypted with RC4 and keys of a number of bits from SHA-1, as CryptoAPI does it.
fn crypto_api(password: &str, bits: u32) -> Vec<u8> {
    let salt = [7; 16];
    let hash = Sha1::digest([&salt[..], &utf16(password)].concat());
    let key = |block: u32| {
        let key = Sha1::digest([&hash[..], &block.to_le_bytes()].concat());
        let mut key = key[..bits as usize / 8].to_vec();
        if bits == 40 {
            key.resize(16, 0);
        }
        key
    };
    let verifier = [3; 16];
    let proof = [&verifier[..], &Sha1::digest(verifier)].concat();
    let proof = xor(&proof, &key_stream(36, key));
    let provider = utf16("Provider\0");
    let header = [4u32, 0, 0x6801, 0x8004, bits, 1, 0, 0]
        .map(u32::to_le_bytes)
        .concat();
    let header = [header, provider].concat();
    let file_pass = [
        &words(&[1, 2, 2])[..],
        &4u32.to_le_bytes(),
        &(header.len() as u32).to_le_bytes(),
        &header,
        &16u32.to_le_bytes(),
        &salt,
        &proof[..16],
        &20u32.to_le_bytes(),
        &proof[16..],
    ]
    .concat();
    let mut stream = plain(Biff::Eight, &file_pass);
    let keys = key_stream(stream.len(), key);
    encrypt(&mut stream, |byte, at, _, _| byte ^ keys[at]);
    compound(&[("Workbook", stream)])
}

/// Obfuscated. The key and the verifier of the default password are those that Excel stores.
fn obfuscated(version: Biff, verifier: u16) -> Vec<u8> {
    let (key, name) = (0xb359u16, "Workbook");
    let (file_pass, name) = match version {
        Biff::Five => (words(&[key, verifier]), "Book"),
        Biff::Eight => (words(&[0, key, verifier]), name),
    };
    let mut stream = plain(version, &file_pass);
    let mut keys: Vec<u8> = DEFAULT.bytes().chain([0xbb]).collect();
    for (i, byte) in keys.iter_mut().enumerate() {
        *byte = (*byte ^ key.to_le_bytes()[i % 2]).rotate_left(2);
    }
    encrypt(&mut stream, |byte, at, _, length| {
        (byte ^ keys[(at + length) % 16]).rotate_right(3)
    });
    compound(&[(name, stream)])
}

pub(crate) fn every(table: &mut Table) {
    let rows = "A\n99 rows";
    table.good("rc4.xls", &rc4(DEFAULT), rows);
    table.good("crypto-api-40.xls", &crypto_api(DEFAULT, 40), rows);
    table.good("crypto-api-128.xls", &crypto_api(DEFAULT, 128), rows);
    table.good("xor8.xls", &obfuscated(Biff::Eight, 0x9a0a), rows);
    table.good("xor5.xls", &obfuscated(Biff::Five, 0x9a0a), rows);
    let encrypted = "is encrypted; save it without a password and try again";
    table.bad("rc4-secret.xls", &rc4("secret"), encrypted);
    table.bad(
        "crypto-api-secret.xls",
        &crypto_api("secret", 128),
        encrypted,
    );
    table.bad(
        "xor-secret.xls",
        &obfuscated(Biff::Eight, 0x9a0b),
        encrypted,
    );
    // Encryption that nothing is known of, and such that is incomplete.
    let with = |pass: &[u8]| compound(&[("Workbook", plain(Biff::Eight, pass))]);
    table.bad("unknown.xls", &with(&words(&[9, 9, 9])), encrypted);
    table.bad("unknown-version.xls", &with(&words(&[1, 9, 9])), encrypted);
    table.bad("short.xls", &with(&[1]), "its record is too short");
    table.bad(
        "short-rc4.xls",
        &with(&words(&[1, 1, 1, 0])),
        "its encryption is incomplete",
    );
    let api = |bytes: Vec<u8>| with(&[words(&[1, 2, 2]), bytes].concat());
    table.bad(
        "short-api.xls",
        &api(vec![0; 20]),
        "its record is too short",
    );
    let header = [0u32, u32::MAX, 4, 0, 0x6801, 0x8004, 128, 1];
    let header = header.map(u32::to_le_bytes).concat();
    table.bad("header.xls", &api(header), "its encryption is incomplete");
    let aes = [0u32, 32, 4, 0, 0x660e, 0x8004, 128, 1, 0, 0];
    table.bad(
        "aes.xls",
        &api(aes.map(u32::to_le_bytes).concat()),
        encrypted,
    );
}
