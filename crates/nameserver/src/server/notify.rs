//! Notifies the secondaries of a changed zone (NOTIFY, RFC 1996), so that they do not have to wait for their refresh
//! time.

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

/// The delay that joins a series of changes into one NOTIFY.
const DELAY: Duration = Duration::from_millis(500);
/// The waiting times for an answer in seconds. Each is twice the one before (RFC 1996, section 3.6).
const TRIES: [u64; 4] = [1, 2, 4, 8];

/// Notifies the secondaries after each event of `changed`, without end.
pub async fn serve(shared: Arc<Shared>, changed: Arc<Notify>) {
    let mut notified: HashMap<(SocketAddr, Box<[u8]>), u32> = HashMap::new();
    let mut in_progress = JoinSet::new();
    loop {
        let serials: Vec<(Box<[u8]>, u32)> = {
            let zones = shared.zones();
            zones.apexes().iter().map(|a| (a.name.clone(), a.serial())).collect()
        };
        for secondary in shared.policy.load().secondaries.iter().copied() {
            for (zone, serial) in &serials {
                if notified.insert((secondary, zone.clone()), *serial) != Some(*serial) {
                    in_progress.spawn(notify(secondary, zone.clone()));
                }
            }
        }
        while in_progress.try_join_next().is_some() {}
        changed.notified().await;
        sleep(DELAY).await;
    }
}

/// Sends the NOTIFY until the secondary answers. After the last try, the secondary finds the change at its next
/// refresh.
async fn notify(secondary: SocketAddr, zone: Box<[u8]>) -> std::io::Result<()> {
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
        // A closed port does not end the tries, because the secondary may be starting.
        let _ = socket.send(&message).await;
        match timeout(Duration::from_secs(seconds), socket.recv(&mut reply)).await {
            Ok(Ok(length)) if length >= HEADER && reply[..2] == id && reply[2] & 0x80 != 0 => return Ok(()),
            Ok(Err(_)) => sleep(Duration::from_secs(seconds)).await,
            _ => {}
        }
    }
    Ok(())
}
