//! Updates with `nsupdate`, as a person or a script sends them.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::{
    Program, SECRET_BASE64,
    packet::{A, AAAA, PTR},
    small,
};

/// Returns the output of `nsupdate` for these lines. It is empty if all succeeded.
fn nsupdate(program: &Program, options: &[&str], key: &str, lines: &str) -> String {
    let mut child = Command::new("nsupdate")
        .args(["-t", "10", "-y", key])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("these tests use `nsupdate`: apt-get install bind9-dnsutils");
    let server = format!("server {} {}\n", program.address.ip(), program.address.port());
    child.stdin.take().unwrap().write_all(format!("{server}{lines}").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn nsupdate_reports_the_result_of_each_update() {
    let program = Program::start(&small());
    let good = format!("hmac-sha256:all:{SECRET_BASE64}");
    let bad = "hmac-sha256:all:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned();
    let unknown = format!("hmac-sha256:nobody:{SECRET_BASE64}");
    let other = format!("hmac-sha512:all:{SECRET_BASE64}");
    let table: &[(&str, &str, &str)] = &[
        (&good, "update add anna.pc.internal 300 A 10.77.0.9\nsend\n", ""),
        (&good, "update add anna.pc.internal 300 AAAA fd00::9\nsend\n", ""),
        (&good, "prereq nxdomain anna.pc.internal\nupdate add anna.pc.internal 300 A 10.77.0.8\nsend\n", "YXDOMAIN"),
        (&good, "prereq yxdomain bert.pc.internal\nupdate add x.pc.internal 300 A 10.77.0.8\nsend\n", "NXDOMAIN"),
        (&good, "prereq yxrrset anna.pc.internal TXT\nupdate add x.pc.internal 300 A 10.77.0.8\nsend\n", "NXRRSET"),
        (&good, "prereq nxrrset anna.pc.internal A\nupdate add x.pc.internal 300 A 10.77.0.8\nsend\n", "YXRRSET"),
        (&good, "prereq yxrrset anna.pc.internal A 10.77.0.9\nupdate add x.pc.internal 300 A 10.77.0.8\nsend\n", ""),
        (&good, "update delete x.pc.internal A\nsend\n", ""),
        (&good, "update add git.internal 300 A 10.77.0.8\nsend\n", "REFUSED"),
        (&good, "update add internal. 300 TXT hello\nsend\n", "REFUSED"),
        (&good, "zone internal\nupdate add www.example.com 300 A 10.77.0.8\nsend\n", "NOTZONE"),
        (&good, "zone example.com\nupdate add www.example.com 300 A 10.77.0.8\nsend\n", "NOTAUTH"),
        (&good, "update add 9.0.77.10.in-addr.arpa 300 PTR anna.pc.internal.\nsend\n", ""),
        (&bad, "zone internal\nupdate add x.pc.internal 300 A 10.77.0.8\nsend\n", "NOTAUTH(BADSIG)"),
        (&unknown, "zone internal\nupdate add x.pc.internal 300 A 10.77.0.8\nsend\n", "NOTAUTH(BADKEY)"),
        (&other, "zone internal\nupdate add x.pc.internal 300 A 10.77.0.8\nsend\n", "NOTAUTH(BADKEY)"),
    ];
    for tcp in [false, true] {
        for (key, lines, expected) in table {
            let options: &[&str] = if tcp { &["-v"] } else { &[] };
            let said = nsupdate(&program, options, key, lines);
            assert!(if expected.is_empty() { said.is_empty() } else { said.contains(expected) }, "{lines}: `{said}`");
        }
        assert_eq!(program.ask("anna.pc.internal", A).1, ["300 10.77.0.9"]);
        assert_eq!(program.ask("anna.pc.internal", AAAA).1, ["300 fd00::9"]);
        assert_eq!(program.ask("9.0.77.10.in-addr.arpa", PTR).1, ["300 anna.pc.internal."]);
        assert_eq!(program.ask("x.pc.internal", A).0, 3);
        let said = nsupdate(&program, &[], &good, "update delete anna.pc.internal\nsend\n");
        assert_eq!((said.as_str(), program.ask("anna.pc.internal", A).0), ("", 3));
    }
}
