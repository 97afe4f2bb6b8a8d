// Runs the checks with one of the official TypeScript SDKs: `main.mjs v1|v2 --url URL …` (see ../run).
import { options as parse, runChecks, within } from '../common.mjs';
import { checks } from './checks.mjs';
import { Answers, Inbox } from './wire.mjs';

const sdk = process.argv[2];
const options = parse(process.argv.slice(3), Object.keys(checks));
const { connect } = await import(`./sdk-${sdk}.mjs`);

const inbox = new Inbox();
const answers = new Answers();
const session = connect(options, inbox, answers).then(client => {
    const opened = inbox.messages.find(message => message.result?.protocolVersion)?.result;
    const info = {
        protocolVersion: opened?.protocolVersion ?? client.getNegotiatedProtocolVersion(),
        serverInfo: client.getServerVersion(),
        capabilities: client.getServerCapabilities(),
    };
    const { prefix, transport } = options;
    // What addresses of resources begin with on the aggregate.
    const address = prefix && `${prefix.slice(0, -1)}+`;
    return { client, info, inbox, answers, prefix, address, transport };
});
const ok = await runChecks(options, checks, session, () => inbox.last());
await within(options.timeout, session.then(close)).catch(() => {});
process.exit(ok ? 0 : 1);

async function close({ client }) {
    await client.transport?.terminateSession?.();
    await client.close();
}
