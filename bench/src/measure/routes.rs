//! What many routes cost those who use one of them.

use crate::fleet::Setup;
use crate::report::{Bound, Findings};
use crate::target::Target;
use crate::target::ours::{self, Mode};

use super::calls::{Load, rounds};
use super::{Plan, progress};

const ONE: &str = "one route /mcp";
const MANY: &str = "many routes /mcp";

pub(crate) async fn routes(setup: &Setup, plan: &Plan) -> anyhow::Result<Findings> {
    progress("many routes");
    let mut findings = Findings::default();
    let started = async {
        let one = ours::start_gateway(setup, Mode::Shared).await?;
        anyhow::Ok((one, ours::start_gateway_with(setup, Mode::Shared, plan.routes - 1).await?))
    };
    let (one, many) = match started.await {
        Ok(started) => started,
        Err(why) => {
            findings.unmeasured("calls/s with many routes", &why);
            return Ok(findings);
        }
    };
    let renamed = |gateway: &ours::Gateway, name| {
        let [per_server, ..] = gateway.targets();
        Target { name, ..per_server }
    };
    let targets = [renamed(&one, ONE), renamed(&many, MANY)];
    let load = Load::Closed { clients: plan.clients };
    let all = rounds(&targets, load, plan.rounds, plan.span(), &mut findings).await;
    let ratio = all.ratio(MANY, ONE, |sample| sample.rate);
    let name = format!("calls/s at {} clients, {} routes / one", plan.clients, plan.routes);
    findings.figure(name, "×", ratio, Some(Bound::AtLeast(0.97)));
    Ok(findings)
}
