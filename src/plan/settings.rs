//! The values of EXPOSE, STOPSIGNAL, --chmod, and paths of the image.

/// What a word of EXPOSE says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exposed {
    /// The ports, as `number/protocol`.
    pub(super) ports: Vec<String>,
    /// Whether the protocol is in lower case.
    pub(super) protocol_is_lower: bool,
    /// Whether it has an address or a port of the host, which mean nothing.
    pub(super) is_mapping: bool,
}

/// Reads a word of EXPOSE, `[[address:]host-port:]port[-port][/protocol]`; an
/// error is a message.
pub(super) fn ports(word: &str) -> Result<Exposed, String> {
    let (mapping, port) = match word.rsplit_once(':') {
        Some((mapping, port)) => (Some(mapping), port),
        None => (None, word),
    };
    let (ports, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let protocol = if protocol.is_empty() { "tcp" } else { protocol };
    let lower = protocol.to_lowercase();
    if !matches!(lower.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("the protocol is tcp, udp or sctp, not {protocol:?}"));
    }
    let (first, last) = port_range(ports)?;
    let (address, host) = match mapping {
        None => ("", ""),
        Some(mapping) => mapping.rsplit_once(':').unwrap_or(("", mapping)),
    };
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if !address.is_empty() && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("{address:?} is no IP address"));
    }
    if !host.is_empty() {
        let (host_first, host_last) = port_range(host)?;
        if last != first && host_last - host_first != last - first {
            return Err(format!("the ranges {host:?} and {ports:?} differ in length"));
        }
    }
    Ok(Exposed {
        ports: (first..=last).map(|port| format!("{port}/{lower}")).collect(),
        protocol_is_lower: protocol == lower,
        is_mapping: !address.is_empty() || !host.is_empty(),
    })
}

fn port_range(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let port = text.parse::<u16>().ok().filter(|_| digits);
        port.ok_or_else(|| format!("{text:?} is no port: a number from 0 to 65535"))
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if last < first {
        return Err(format!("the range {text:?} ends before it begins"));
    }
    Ok((first, last))
}

/// Linux signals by name; SIGRTMIN and SIGRTMAX with offsets are known besides.
const SIGNALS: &str = "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF \
    PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ \
    RTMIN RTMAX";

/// Whether a text is a signal: a number, or a name with or without `SIG`.
pub(super) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u32>() {
        return (1..=64).contains(&number);
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |prefix: &str, limit: u32| {
        let digits = name.strip_prefix(prefix)?;
        let offset = digits.parse::<u32>().ok().filter(|_| !digits.starts_with('+'))?;
        Some((1..=limit).contains(&offset))
    };
    SIGNALS.split_ascii_whitespace().any(|signal| signal == name)
        || offset("RTMIN+", 15).unwrap_or(false)
        || offset("RTMAX-", 14).unwrap_or(false)
}

/// The signal that was perhaps meant, with `SIG`.
pub(super) fn nearest_signal(text: &str) -> Option<String> {
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let near = crate::dockerfile::nearest(name, SIGNALS.split_ascii_whitespace())?;
    Some(format!("SIG{near}"))
}

/// Whether a text is a mode: octal up to 7777, or symbolic (`u=rwX,go-w`).
pub(super) fn is_mode(text: &str) -> bool {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777);
    }
    text.split(',').all(|clause| {
        let who = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        // One or more of an operator and what it sets.
        who.starts_with(['+', '-', '=']) && who.chars().all(|c| "+-=rwxXstugo".contains(c))
    })
}

/// `path` from `base`, clean: no `.`, `..`, double or last slash; cannot leave `/`.
pub(super) fn resolve(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.starts_with('/') { "" } else { base };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ports() {
        let of = |ports: &[&str], protocol_is_lower, is_mapping| {
            let ports = ports.iter().map(ToString::to_string).collect();
            Ok(Exposed { ports, protocol_is_lower, is_mapping })
        };
        assert_eq!(ports("80"), of(&["80/tcp"], true, false));
        assert_eq!(ports("53/UDP"), of(&["53/udp"], false, false));
        assert_eq!(ports("80/"), of(&["80/tcp"], true, false));
        let range = ["8000/sctp", "8001/sctp", "8002/sctp"];
        assert_eq!(ports("8000-8002/sctp"), of(&range, true, false));
        for mapping in
            ["8080:80", "127.0.0.1:80:80", "127.0.0.1::80", "[::1]:8:80", "::1:8:80", "1-9:80"]
        {
            assert_eq!(ports(mapping), of(&["80/tcp"], true, true), "{mapping}");
        }
        assert_eq!(ports(":80"), of(&["80/tcp"], true, false));
        for bad in [
            "",
            "x",
            "80/icmp",
            "9-8",
            "70000",
            "1-2-3",
            "+80",
            "80-",
            "80:",
            "x:80",
            "1.2.3:8:80",
            "1-3:80-81",
        ] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn knows_signals() {
        for good in ["9", "SIGTERM", "term", "SIGRTMIN+3", "RTMAX-14", "SIGRTMIN"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in ["0", "65", "", "SIG", "SIGFOO", "RTMIN+16", "RTMIN++1", "-9"] {
            assert!(!is_signal(bad), "{bad}");
        }
    }

    #[test]
    fn knows_which_signal_was_meant() {
        assert_eq!(nearest_signal("SIGTREM").as_deref(), Some("SIGTERM"));
        assert_eq!(nearest_signal("ussr1").as_deref(), Some("SIGUSR1"));
        assert_eq!(nearest_signal("everything"), None);
    }

    #[test]
    fn knows_modes() {
        for good in ["755", "0644", "7777", "u=rwX,go=rX", "+x", "a-w", "u+rw-x", "g=u"] {
            assert!(is_mode(good), "{good}");
        }
        for bad in ["888", "17777", "rwx", "u", "u=q", "u=r,", "x+r"] {
            assert!(!is_mode(bad), "{bad}");
        }
    }

    #[test]
    fn resolves_paths() {
        for (base, path, expected) in [
            ("/", "a", "/a"),
            ("/a", "b/../c/./", "/a/c"),
            ("/a", "/b//c/", "/b/c"),
            ("/a", "../../..", "/"),
            ("/a", ".", "/a"),
            ("", "x", "/x"),
        ] {
            assert_eq!(resolve(base, path), expected);
        }
    }
}
