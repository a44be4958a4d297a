use serde_json::json;

use super::*;
use crate::cluster::fake::{Answer, FakeApi};

/// The agent's end of a conversation.
struct TestAgent {
    lines: tokio::io::Lines<BufReader<tokio::io::ReadHalf<tokio::io::DuplexStream>>>,
    writer: tokio::io::WriteHalf<tokio::io::DuplexStream>,
}

impl TestAgent {
    async fn receive(&mut self) -> ControlRequest {
        serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap()
    }

    async fn reply(&mut self, reply: &serde_json::Value) {
        self.writer.write_all(format!("{reply}\n").as_bytes()).await.unwrap();
    }

    /// Answers the next renewal and the status request behind it.
    async fn renewed(&mut self, reply: &serde_json::Value) -> ControlRequest {
        let request = self.receive().await;
        self.reply(reply).await;
        assert_eq!(self.receive().await, ControlRequest::Status { session: Some("s1".to_owned()) });
        request
    }
}

fn rules() -> Rules {
    serde_json::from_value(json!({
        "version": 1, "session": "s1", "generation": 7, "key": "k", "order": 1, "lease_seconds": 60,
        "mode": "steal", "ports": [{"port": 80}], "filter": {"baggage": "k"}, "preview": [],
    }))
    .unwrap()
}

fn agent_id() -> AgentId {
    AgentId { uid: "u".to_owned(), container: "mirrord-agent-1".to_owned() }
}

fn peer() -> AgentPeer {
    AgentPeer {
        namespace: "shop".to_owned(),
        pod: "cart-1".to_owned(),
        agent: agent_id(),
        has_run: false,
        address: Arc::default(),
        session: "s1".to_owned(),
        target: "deployment/cart".to_owned(),
        encrypted: Vec::new(),
        yields: false,
    }
}

/// The keeper's side of a conversation.
struct Conversation {
    wanted: watch::Sender<Wanted>,
    events: mpsc::UnboundedReceiver<(AgentId, AgentEvent)>,
    result: tokio::task::JoinHandle<Result<()>>,
}

impl Conversation {
    async fn event(&mut self) -> AgentEvent {
        let (agent, event) = self.events.recv().await.unwrap();
        assert_eq!(agent, agent_id());
        event
    }

    /// The error that the conversation ends with.
    async fn error(self) -> String {
        self.result.await.unwrap().unwrap_err().to_string()
    }
}

fn conversation(hello: &serde_json::Value) -> (TestAgent, Conversation) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (reader, writer) = tokio::io::split(far);
    let (mut first, wanted) = (hello.to_string(), watch::Sender::new(Wanted::Rules(Arc::new(rules()))));
    first.push('\n');
    let receiver = wanted.subscribe();
    let (sender, events) = mpsc::unbounded_channel();
    let result = tokio::spawn(async move {
        let (stdout, stdin) = tokio::io::split(near);
        let stdout = tokio::io::AsyncReadExt::chain(first.as_bytes(), stdout);
        converse(stdin, stdout, &peer(), receiver, &Arc::default(), &sender).await
    });
    let agent = TestAgent { lines: BufReader::new(reader).lines(), writer };
    (agent, Conversation { wanted, events, result })
}

fn hello(renews: bool) -> serde_json::Value {
    let mut hello = json!({"type": "hello", "protocol": 1, "version": "0.1.0", "method": "sk_lookup"});
    if renews {
        hello["renews"] = true.into();
    }
    hello
}

#[tokio::test(start_paused = true)]
async fn rules_are_sent_once_and_then_only_their_generation_until_the_agent_lacks_it() {
    let (mut agent, _conversation) = conversation(&hello(true));
    let accepted = json!({"type": "accepted", "session": "s1", "generation": 7, "not_listening": []});
    let renew = ControlRequest::Renew { session: "s1".to_owned(), generation: 7 };
    assert!(matches!(agent.renewed(&accepted).await, ControlRequest::Rules { .. }));
    assert_eq!(agent.renewed(&accepted).await, renew);
    assert_eq!(agent.renewed(&accepted).await, renew);
    let before = Instant::now();
    assert_eq!(agent.renewed(&json!({"type": "not_held", "session": "s1"})).await, renew);
    let lacked = Instant::now();
    assert!(lacked > before);
    assert!(matches!(agent.renewed(&accepted).await, ControlRequest::Rules { .. }));
    assert_eq!(lacked.elapsed(), Duration::ZERO, "at once");
    let refused = json!({"type": "refused", "session": "s1", "why": "another key"});
    assert_eq!(agent.renewed(&refused).await, renew);
    assert!(
        matches!(agent.renewed(&accepted).await, ControlRequest::Rules { .. }),
        "refused ones are sent again"
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_cannot_renew_gets_the_rules_each_time() {
    let (mut agent, _conversation) = conversation(&hello(false));
    let accepted = json!({"type": "accepted", "session": "s1", "generation": 7, "not_listening": []});
    for _ in 0..3 {
        assert!(matches!(agent.renewed(&accepted).await, ControlRequest::Rules { .. }));
        agent.reply(&json!({"type": "event", "event": "expired", "session": "other"})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_is_sent_at_once_and_its_end_is_an_event() {
    let (mut agent, mut conversation) = conversation(&hello(true));
    let accepted = json!({"type": "accepted", "session": "s1", "generation": 7, "not_listening": []});
    agent.renewed(&accepted).await;
    assert!(matches!(conversation.event().await, AgentEvent::Hello(CaptureMethod::SkLookup)));
    assert!(matches!(conversation.event().await, AgentEvent::InForce { generation: 7 }));
    let before = Instant::now();
    conversation.wanted.send_replace(Wanted::Withdrawal);
    assert_eq!(agent.receive().await, ControlRequest::Withdraw { session: "s1".to_owned() });
    assert_eq!(before.elapsed(), Duration::ZERO);
    agent.reply(&json!({"type": "withdrawn", "session": "s1"})).await;
    assert!(matches!(conversation.event().await, AgentEvent::Withdrawn));
}

#[tokio::test(start_paused = true)]
async fn an_agent_of_another_version_is_left_alone() {
    let (mut agent, mut conversation) =
        conversation(&json!({"type": "hello", "protocol": 2, "version": "9.0.0", "method": "nftables"}));
    assert!(matches!(conversation.event().await, AgentEvent::ForeignVersion(version) if version == "9.0.0"));
    assert!(conversation.result.await.unwrap().is_ok());
    assert!(agent.lines.next_line().await.unwrap().is_none(), "nothing is sent to it");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stops_answering_ends_the_conversation() {
    let (mut agent, conversation) = conversation(&hello(true));
    let before = Instant::now();
    assert!(matches!(agent.receive().await, ControlRequest::Rules { .. }));
    assert_eq!(conversation.error().await, "the agent does not answer");
    assert!(before.elapsed() >= ANSWERS_WITHIN);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_understand_ends_the_conversation() {
    let (mut agent, conversation) = conversation(&hello(true));
    agent.receive().await;
    agent.reply(&json!({"type": "error", "why": "unknown request"})).await;
    assert_eq!(conversation.error().await, "the agent did not understand: unknown request");
}

#[tokio::test(start_paused = true)]
async fn an_exec_that_is_refused_is_not_tried_again_and_one_that_fails_is() {
    for (code, tries, event) in [(403, 1..=1, "Forbidden"), (500, 20..=2000, "Ended")] {
        let api = FakeApi::by(move |_| Some(Answer::refusal(code, "no exec")));
        let (events, mut received) = mpsc::unbounded_channel();
        let wanted = watch::Sender::new(Wanted::Nothing);
        run(api.cluster(), peer(), wanted.subscribe(), Arc::default(), events).await;
        let (_, last) = received.recv().await.unwrap();
        assert!(format!("{last:?}").starts_with(event), "{code}: {last:?}");
        assert!(tries.contains(&api.asked().len()), "{code}: {} tries", api.asked().len());
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_has_run_is_given_up_soon_and_one_that_may_be_starting_is_not() {
    for (has_run, seconds) in [(true, 10..=12), (false, 120..=122)] {
        let api = FakeApi::by(|_| Some(Answer::refusal(500, "container not found")));
        let (events, mut received) = mpsc::unbounded_channel();
        let wanted = watch::Sender::new(Wanted::Nothing);
        let begun = Instant::now();
        let peer = AgentPeer { has_run, ..peer() };
        run(api.cluster(), peer, wanted.subscribe(), Arc::default(), events).await;
        assert!(matches!(received.recv().await, Some((_, AgentEvent::Ended(_)))));
        assert!(seconds.contains(&begun.elapsed().as_secs()), "{has_run}: {:?}", begun.elapsed());
    }
}

#[test]
fn rules_outlast_the_pause_before_the_next_keeper() {
    let leases = [0, 1, 2, 3, 4, 6, 7, 1000].map(|failed| lease(failed).as_secs());
    assert_eq!(leases, [60, 60, 70, 110, 190, 630, 630, 630]);
}
