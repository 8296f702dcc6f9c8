//! Tells the secondaries that a zone changed (NOTIFY, RFC 1996), so that they need not wait until they ask by themselves.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use lap_base::random::random;
use tokio::{
    net::UdpSocket,
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    shared::Shared,
    wire::{HEADER, IN, opcode, rtype},
};

/// Changes in a row are told once.
const PAUSE: Duration = Duration::from_millis(500);
/// Waits for an answer, twice as long each time (RFC 1996, section 3.6).
const TRIES: [u64; 4] = [1, 2, 4, 8];

/// Tells, for ever, whatever `changed` announces.
pub async fn serve(shared: Arc<Shared>, changed: Arc<Notify>) {
    let mut told: HashMap<(SocketAddr, Box<[u8]>), u32> = HashMap::new();
    let mut under_way = JoinSet::new();
    loop {
        let serials: Vec<(Box<[u8]>, u32)> = {
            let zones = shared.zones();
            zones.apexes().iter().map(|a| (a.name.clone(), a.serial())).collect()
        };
        for secondary in shared.policy.load().secondaries.iter().copied() {
            for (zone, serial) in &serials {
                if told.insert((secondary, zone.clone()), *serial) != Some(*serial) {
                    under_way.spawn(tell(secondary, zone.clone()));
                }
            }
        }
        while under_way.try_join_next().is_some() {}
        changed.notified().await;
        sleep(PAUSE).await;
    }
}

/// Asks until it is answered; a secondary that is away asks by itself when it is back.
async fn tell(secondary: SocketAddr, zone: Box<[u8]>) -> std::io::Result<()> {
    let any = if secondary.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(secondary).await?;
    let id: [u8; 2] = random().map_err(std::io::Error::other)?;
    let mut message = vec![id[0], id[1], opcode::NOTIFY << 3 | 0x04, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&zone);
    message.extend_from_slice(&rtype::SOA.to_be_bytes());
    message.extend_from_slice(&IN.to_be_bytes());
    let mut reply = [0; 512];
    for seconds in TRIES {
        // A port that nobody listens on is no reason to stop: the secondary may be starting.
        let _ = socket.send(&message).await;
        match timeout(Duration::from_secs(seconds), socket.recv(&mut reply)).await {
            Ok(Ok(length)) if length >= HEADER && reply[..2] == id && reply[2] & 0x80 != 0 => return Ok(()),
            Ok(Err(_)) => sleep(Duration::from_secs(seconds)).await,
            _ => {}
        }
    }
    Ok(())
}
