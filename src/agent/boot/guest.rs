//! What a virtual machine's host may ask from outside: which addresses it has. Where the office's DHCP gives them, nobody but the machine
//! knows. The way is libvirt's own (`virsh domifaddr --source agent`): a line to the host that is no network, with the QEMU guest agent's
//! protocol on it, of which nothing else is answered: the host can look here, and do nothing.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{BufRead, BufReader, Read, Write},
    net::Ipv4Addr,
    path::Path,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

/// The machine's end of the line; udev gives it this name.
const LINE: &str = "/dev/virtio-ports/org.qemu.guest_agent.0";
/// The first byte of an answer that is to be told from an earlier one that nobody read.
const MARK: u8 = 0xff;
/// No question is longer.
const LONGEST: u64 = 64 << 10;
/// Between two looks, where the line is not there yet or nobody listens at its other end.
const PAUSE: Duration = Duration::from_secs(1);
/// After a fault, such as that somebody else has it open.
const AGAIN: Duration = Duration::from_secs(30);
/// So often it is looked for the line: its driver may still be on its way.
const LOOKS: usize = 300;

/// A network card: its IPv4 addresses with their prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    pub hardware: Option<String>,
    pub addresses: Vec<(Ipv4Addr, u32)>,
}

/// Answers from now on. Ends by itself in a machine that has no such line.
pub fn start() {
    let answering = thread::Builder::new().name("guest".into()).spawn(|| {
        let line = Path::new(LINE);
        for _ in 0..LOOKS {
            if line.exists() {
                break;
            }
            thread::sleep(PAUSE);
        }
        while line.exists() {
            if let Err(error) = serve(line) {
                eprintln!("agent: `{LINE}`: {error}");
            }
            thread::sleep(AGAIN);
        }
    });
    if let Err(error) = answering {
        eprintln!("agent: cannot answer the host of this machine: {error}");
    }
}

fn serve(line: &Path) -> std::io::Result<()> {
    let mut out = OpenOptions::new().read(true).write(true).open(line)?;
    let mut questions = BufReader::new(out.try_clone()?);
    let mut question = Vec::new();
    loop {
        // What a question that was cut began with is not the next one's.
        question.clear();
        if (&mut questions).take(LONGEST).read_until(b'\n', &mut question)? == 0 {
            // Nobody is at the other end.
            thread::sleep(PAUSE);
        } else if let Some(said) = answer(&question, cards) {
            out.write_all(&said)?;
        }
    }
}

/// The answer to a question; `None`: there was none in it.
fn answer(question: &[u8], cards: impl Fn() -> BTreeMap<String, Card>) -> Option<Vec<u8>> {
    // Whoever comes new to the line begins with a byte that cuts off what was there.
    let start = question.iter().rposition(|byte| *byte == MARK).map_or(0, |at| at + 1);
    let text = question[start..].trim_ascii();
    if text.is_empty() {
        return None;
    }
    let asked: Value = serde_json::from_slice(text).unwrap_or_default();
    let (mut out, said) = (Vec::new(), &asked["arguments"]["id"]);
    let answer = match asked["execute"].as_str() {
        Some("guest-ping") => json!({ "return": {} }),
        Some("guest-sync") => json!({ "return": said }),
        Some("guest-sync-delimited") => {
            out.push(MARK);
            json!({ "return": said })
        }
        Some("guest-network-get-interfaces") => json!({ "return": shown(cards()) }),
        _ => {
            json!({ "error": { "class": "CommandNotFound", "desc": "lap only reports the addresses of this machine" } })
        }
    };
    out.extend(format!("{answer}\n").bytes());
    Some(out)
}

fn shown(cards: BTreeMap<String, Card>) -> Vec<Value> {
    let address = |(address, prefix): (Ipv4Addr, u32)| json!({ "ip-address-type": "ipv4", "ip-address": address, "prefix": prefix });
    let card = |(name, card): (String, Card)| {
        let addresses: Vec<Value> = card.addresses.into_iter().map(address).collect();
        match card.hardware {
            Some(hardware) => json!({ "name": name, "hardware-address": hardware, "ip-addresses": addresses }),
            None => json!({ "name": name, "ip-addresses": addresses }),
        }
    };
    cards.into_iter().map(card).collect()
}

/// This machine's cards.
fn cards() -> BTreeMap<String, Card> {
    let mut out = BTreeMap::<String, Card>::new();
    for one in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let card = out.entry(one.interface_name.clone()).or_default();
        let Some(address) = one.address else { continue };
        if let Some(hardware) = address.as_link_addr().and_then(|link| link.addr()) {
            card.hardware = Some(hardware.map(|byte| format!("{byte:02x}")).join(":"));
        }
        if let Some(is) = address.as_sockaddr_in() {
            let mask = one.netmask.and_then(|mask| mask.as_sockaddr_in().map(|mask| u32::from(mask.ip())));
            card.addresses.push((is.ip(), mask.map_or(32, u32::count_ones)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(question: &[u8]) -> String {
        let cards = || {
            let card =
                Card { hardware: Some("52:54:00:00:00:01".into()), addresses: vec![([192, 168, 1, 57].into(), 24)] };
            BTreeMap::from([("eth1".to_owned(), card)])
        };
        let said = answer(question, cards).unwrap_or_default();
        said.iter().map(|byte| if *byte == MARK { '!' } else { char::from(*byte) }).collect()
    }

    #[test]
    fn the_host_is_told_addresses_and_nothing_else_happens() {
        assert_eq!(said(br#"{"execute":"guest-sync", "arguments":{"id":1754}}"#), "{\"return\":1754}\n");
        assert_eq!(said(b"half a que\xff\n"), "");
        assert_eq!(
            said(b"half\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":7}}\n"),
            "!{\"return\":7}\n"
        );
        assert_eq!(
            said(b"{\"execute\":\"guest-network-get-interfaces\"}\n"),
            "{\"return\":[{\"hardware-address\":\"52:54:00:00:00:01\",\"ip-addresses\":[{\"ip-address\":\"192.168.1.57\",\
             \"ip-address-type\":\"ipv4\",\"prefix\":24}],\"name\":\"eth1\"}]}\n"
        );
        for other in ["{\"execute\":\"guest-exec\"}", "{\"execute\":\"guest-shutdown\"}", "nonsense", "[1]"] {
            assert!(said(other.as_bytes()).contains("CommandNotFound"), "{other}");
        }
    }

    #[test]
    fn this_machine_knows_its_cards() {
        let cards = cards();
        assert!(cards["lo"].addresses.contains(&(Ipv4Addr::LOCALHOST, 8)), "{cards:?}");
    }
}
