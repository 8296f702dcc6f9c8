//! Ports in Compose's short syntax.

use std::fmt;

use crate::config::{
    model::{Port, Protocol},
    problem::shown,
};

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.node_only {
            write!(f, "{NODE_ONLY}:")?;
        }
        write!(f, "{}:{}/{}", self.host, self.container, self.protocol)
    }
}

/// The only address that a port may have: the node's own loopback.
const NODE_ONLY: &str = "127.0.0.1";

/// `[127.0.0.1:]HOST:CONTAINER[/PROTOCOL]`; a bare `5000` is `5000:5000`.
pub fn port(text: &str) -> Result<Port, String> {
    let wrong = || format!("{} is not a port: write HOST:CONTAINER, e.g. `2200:22`", shown(text));
    let (ports, protocol) = match text.split_once('/') {
        None | Some((_, "tcp")) => (text.split('/').next().unwrap_or(text), Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some((_, other)) => {
            let head = text.split('/').next().unwrap_or(text);
            return Err(format!("{} is not a protocol: write `{head}/tcp` or `{head}/udp`", shown(other)));
        }
    };
    if ports.contains('-') {
        return Err(format!("{} is a range: write one entry for each port", shown(text)));
    }
    let (ports, node_only) = match ports.strip_prefix(NODE_ONLY).and_then(|rest| rest.strip_prefix(':')) {
        Some(rest) if rest.contains(':') => (rest, true),
        _ => (ports, false),
    };
    if ports.matches(':').count() > 1 {
        return Err(format!(
            "{} names an address: write HOST:CONTAINER, the address is `publish` in node.toml; or {NODE_ONLY}:HOST:CONTAINER for the \
             node alone",
            shown(text)
        ));
    }
    let (host, container) = ports.split_once(':').unwrap_or((ports, ports));
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|port| plain && *port > 0).ok_or_else(wrong)
    };
    Ok(Port { host: number(host)?, container: number(container)?, protocol, node_only })
}

#[cfg(test)]
mod tests {
    use super::{super::messages, *};

    #[test]
    fn ports() {
        for (text, want) in [
            ("5000", "5000:5000/tcp"),
            ("2200:22", "2200:22/tcp"),
            ("2200:22/tcp", "2200:22/tcp"),
            ("53:53/udp", "53:53/udp"),
            ("127.0.0.1:5001:5001", "127.0.0.1:5001:5001/tcp"),
        ] {
            assert_eq!(port(text).unwrap().to_string(), want);
        }
        messages(
            port,
            &[
                ("99999:22", "`99999:22` is not a port: write HOST:CONTAINER, e.g. `2200:22`"),
                ("", "`` is not a port: write HOST:CONTAINER, e.g. `2200:22`"),
                ("0", "`0` is not a port: write HOST:CONTAINER, e.g. `2200:22`"),
                (":22", "`:22` is not a port: write HOST:CONTAINER, e.g. `2200:22`"),
                ("+1:2", "`+1:2` is not a port: write HOST:CONTAINER, e.g. `2200:22`"),
                ("53/sctp", "`sctp` is not a protocol: write `53/tcp` or `53/udp`"),
                ("8000-8010", "`8000-8010` is a range: write one entry for each port"),
                (
                    "10.0.0.1:80:80",
                    "`10.0.0.1:80:80` names an address: write HOST:CONTAINER, the address is `publish` in node.toml; or \
                     127.0.0.1:HOST:CONTAINER for the node alone",
                ),
                ("127.0.0.1:80", "`127.0.0.1:80` is not a port: write HOST:CONTAINER, e.g. `2200:22`"),
            ],
        );
    }
}
