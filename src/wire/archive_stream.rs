//! An archive of unknown length on the agent's socket: pieces, each with its length before it (4 bytes, big-endian). A length of 0 ends the
//! archive. Then comes the last line of the side that sent it or took it.

use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a piece is at most.
const PIECE: usize = 256 << 10;

/// Sends `from` in pieces, and gives how many bytes it was.
///
/// # Errors
/// Either side broke.
pub async fn send(mut from: impl AsyncRead + Unpin, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<u64> {
    let (mut piece, mut total) = (vec![0; PIECE], 0);
    loop {
        let length = from.read(&mut piece).await?;
        to.write_u32(length as u32).await?;
        if length == 0 {
            to.flush().await?;
            return Ok(total);
        }
        to.write_all(&piece[..length]).await?;
        total += length as u64;
    }
}

/// Takes pieces until their end, and gives how many bytes they were.
///
/// # Errors
/// Either side broke, or the pieces ended without an end.
pub async fn receive(from: &mut (impl AsyncBufRead + Unpin), mut to: impl AsyncWrite + Unpin) -> std::io::Result<u64> {
    let mut total = 0;
    loop {
        let length = u64::from(from.read_u32().await?);
        if length == 0 {
            to.flush().await?;
            return Ok(total);
        }
        if length > PIECE as u64 {
            return Err(std::io::Error::other("a part of the archive is too long"));
        }
        let taken = tokio::io::copy(&mut from.take(length), &mut to).await?;
        if taken < length {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        total += taken;
    }
}
