use super::*;

fn parse(text: &str) -> Result<Request, Nonsense> {
    Request::parse(text.as_bytes())
}

fn refused(method: &str, parameters: &str) -> Refusal {
    let request = parse(&format!("{{\"method\":\"{method}\",\"parameters\":{parameters}}}")).unwrap();
    request.call.unwrap_err()
}

#[test]
fn what_is_written_is_read() {
    let calls = [
        Call::GetInfo,
        Call::GetInterfaceDescription(INTERFACE.to_owned()),
        Call::Describe,
        Call::Kill { whom: Whom::Leader, signal: 9 },
        Call::Kill { whom: Whom::Supervisor, signal: 64 },
        Call::Kill { whom: Whom::All, signal: 1 },
        Call::PowerOff { timeout: None },
        Call::PowerOff { timeout: Some(Duration::from_millis(5)) },
        Call::Reboot,
        Call::Terminate,
        Call::Pause,
        Call::Resume,
        Call::Resize { columns: 80, rows: 25 },
    ];
    for call in calls {
        let (method, parameters) = call.written();
        let text = json!({ "method": method, "parameters": parameters }).to_string();
        assert_eq!(parse(&text), Ok(Request { call: Ok(call), oneway: false }), "{text}");
    }
}

#[test]
fn every_method_of_the_description_is_there_and_no_other() {
    for (interface, text) in [(INTERFACE, DESCRIPTION), (SERVICE, SERVICE_DESCRIPTION)] {
        let methods = text.lines().filter_map(|line| line.strip_prefix("method ")?.split('(').next());
        let mut count = 0;
        for method in methods {
            count += 1;
            let found = Call::read(&format!("{interface}.{method}"), &Map::new());
            assert!(!matches!(found, Err(Refusal::MethodNotFound(_) | Refusal::InterfaceNotFound(_))), "{method}");
        }
        assert_eq!(count, if interface == INTERFACE { 8 } else { 2 });
        assert_eq!(description(interface).unwrap()["description"], text);
    }
    assert_eq!(description("a.b"), Err(Refusal::InterfaceNotFound("a.b".to_owned())));
    let ours = [
        Refusal::NotPermitted,
        Refusal::Busy,
        Refusal::NoConsole,
        Refusal::NoInit("sh".to_owned()),
        Refusal::Stopping,
        Refusal::NotSupported("why"),
        Refusal::System { what: "freeze", errno: Errno::PERM },
    ];
    for refusal in &ours {
        let (name, parameters) = refusal.written();
        let name = name.strip_prefix("org.redd.Machine.").unwrap();
        let line = DESCRIPTION.lines().find(|line| line.starts_with(&format!("error {name}("))).unwrap();
        for field in parameters.as_object().unwrap().keys() {
            assert!(line.contains(&format!("{field}: ")), "{line}");
        }
    }
    assert_eq!(DESCRIPTION.lines().filter(|line| line.starts_with("error ")).count(), ours.len());
}

#[test]
fn wrong_parameters_are_named() {
    let kill = "org.redd.Machine.Kill";
    for signal in ["{}", "{\"signal\":0}", "{\"signal\":65}", "{\"signal\":\"TERM\"}", "{\"signal\":1.5}"] {
        assert_eq!(refused(kill, signal), Refusal::InvalidParameter("signal"), "{signal}");
    }
    for whom in ["\"\"", "\"everybody\"", "1"] {
        let parameters = format!("{{\"whom\":{whom},\"signal\":9}}");
        assert_eq!(refused(kill, &parameters), Refusal::InvalidParameter("whom"));
    }
    for timeout in ["-1", "\"1s\"", "1.5"] {
        let parameters = format!("{{\"timeoutUSec\":{timeout}}}");
        assert_eq!(refused("org.redd.Machine.PowerOff", &parameters), Refusal::InvalidParameter("timeoutUSec"));
    }
    for (size, wrong) in [("0,\"rows\":5", "columns"), ("5", "rows"), ("5,\"rows\":65536", "rows")] {
        let parameters = format!("{{\"columns\":{size}}}");
        assert_eq!(refused("org.redd.Machine.Resize", &parameters), Refusal::InvalidParameter(wrong));
    }
    assert_eq!(refused("org.varlink.service.GetInterfaceDescription", "{}"), Refusal::InvalidParameter("interface"));
}

#[test]
fn unknown_methods_and_nonsense() {
    assert_eq!(refused("org.redd.Machine.Fly", "{}"), Refusal::MethodNotFound("org.redd.Machine.Fly".to_owned()));
    assert_eq!(refused("org.other.Fly", "{}"), Refusal::InterfaceNotFound("org.other".to_owned()));
    assert_eq!(refused("Fly", "{}"), Refusal::MethodNotFound("Fly".to_owned()));
    for text in [
        "",
        "[]",
        "{}",
        "{\"method\":5}",
        "null",
        "{\"method\":\"a.b\",\"parameters\":[]}",
        "{\"method\":\"a.b\"",
        "{\"method\":\"a.b\",\"oneway\":1}",
        "{\"method\":\"a.b\",\"more\":\"x\"}",
        "\"\u{7f}\"",
    ] {
        assert_eq!(parse(text), Err(Nonsense), "{text}");
    }
    assert_eq!(Request::parse(b"\xff"), Err(Nonsense));
    assert_eq!(Request::parse(&[b'['; LONGEST_CALL]), Err(Nonsense));
}

#[test]
fn absent_and_null_are_the_same() {
    let call = Ok(Call::PowerOff { timeout: None });
    for parameters in
        ["", ",\"parameters\":null", ",\"parameters\":{\"timeoutUSec\":null}", ",\"parameters\":{\"x\":1}"]
    {
        let text = format!("{{\"method\":\"org.redd.Machine.PowerOff\",\"oneway\":true{parameters}}}");
        assert_eq!(parse(&text), Ok(Request { call: call.clone(), oneway: true }), "{text}");
    }
}

#[test]
fn answers_end_with_a_nul() {
    assert_eq!(answer(&Ok(json!({}))), b"{\"parameters\":{}}\0");
    let text = String::from_utf8(answer(&Err(Refusal::Busy))).unwrap();
    assert_eq!(text, "{\"error\":\"org.redd.Machine.Busy\",\"parameters\":{}}\0");
}
