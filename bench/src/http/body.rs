//! The framings of an answer's body (RFC 9112 §6), decoded from a buffer that grows as bytes arrive.

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, Bytes, BytesMut};

/// How far an answer's body has been read.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunk),
    UntilClose,
}

/// What comes next in a chunked body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailer,
    Done,
}

/// What one look at the buffer yields.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Data(Bytes),
    /// The buffer must grow first.
    More,
    End,
}

impl Body {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunk::Size)
    }

    pub(super) fn step(&mut self, buffer: &mut BytesMut) -> anyhow::Result<Step> {
        match self {
            Self::Length(0) => Ok(Step::End),
            Self::Length(left) => Ok(take(buffer, left)),
            Self::UntilClose => Ok(take(buffer, &mut u64::MAX.clone())),
            Self::Chunked(chunk) => step_chunked(chunk, buffer),
        }
    }
}

fn step_chunked(chunk: &mut Chunk, buffer: &mut BytesMut) -> anyhow::Result<Step> {
    loop {
        match chunk {
            Chunk::Done => return Ok(Step::End),
            Chunk::Data(0) => *chunk = Chunk::DataEnd,
            Chunk::Data(left) => return Ok(take(buffer, left)),
            Chunk::Size | Chunk::DataEnd | Chunk::Trailer => {
                let Some(line) = line(buffer) else { return Ok(Step::More) };
                *chunk = after_line(*chunk, &line)?;
            }
        }
    }
}

fn after_line(chunk: Chunk, line: &[u8]) -> anyhow::Result<Chunk> {
    Ok(match chunk {
        Chunk::Size => match size(line)? {
            0 => Chunk::Trailer,
            size => Chunk::Data(size),
        },
        Chunk::DataEnd => {
            ensure!(line.is_empty(), "a chunk is longer than its size");
            Chunk::Size
        }
        Chunk::Trailer if line.is_empty() => Chunk::Done,
        other => other,
    })
}

fn size(line: &[u8]) -> anyhow::Result<u64> {
    let text = str::from_utf8(line).context("a chunk's size is not text")?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).with_context(|| format!("a chunk's size is not a number: {digits:?}"))
}

/// A line without its CRLF, once it is there as a whole.
fn line(buffer: &mut BytesMut) -> Option<BytesMut> {
    let end = memchr::memmem::find(buffer, b"\r\n")?;
    let line = buffer.split_to(end);
    buffer.advance(2);
    Some(line)
}

fn take(buffer: &mut BytesMut, left: &mut u64) -> Step {
    if buffer.is_empty() {
        return Step::More;
    }
    let count = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= count as u64;
    Step::Data(buffer.split_to(count).freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `wire`, arriving in pieces of `step` bytes; what follows the body is returned too.
    fn decode(mut body: Body, wire: &[u8], step: usize) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
        let (mut buffer, mut decoded) = (BytesMut::new(), Vec::new());
        for piece in wire.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Step::Data(data) = body.step(&mut buffer)? {
                decoded.extend_from_slice(&data);
            }
        }
        Ok((decoded, buffer.to_vec()))
    }

    #[test]
    fn chunks_are_joined_however_they_arrive() {
        let wire = b"5\r\nhello\r\nA;ext=1\r\n, world...\r\n0\r\nTrailer: x\r\n\r\nnext";
        for step in 1..=wire.len() {
            let (decoded, rest) = decode(Body::chunked(), wire, step).unwrap();
            assert_eq!((&decoded[..], &rest[..]), (&b"hello, world..."[..], &b"next"[..]), "in steps of {step}");
        }
    }

    #[test]
    fn a_length_ends_the_body_and_leaves_what_follows() {
        for step in 1..=9 {
            assert_eq!(decode(Body::Length(5), b"hellonext", step).unwrap(), (b"hello".to_vec(), b"next".to_vec()));
        }
    }

    #[test]
    fn false_chunk_sizes_are_refused() {
        assert!(decode(Body::chunked(), b"zz\r\nhello\r\n", 64).is_err());
        assert!(decode(Body::chunked(), b"2\r\nhello\r\n", 64).is_err());
    }
}
