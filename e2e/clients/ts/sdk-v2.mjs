// The TypeScript SDK of the 2.x line.
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { CAPABILITIES } from './wire.mjs';

const TRANSPORTS = { sse: SSEClientTransport, http: StreamableHTTPClientTransport };

export async function connect({ url, transport, headers, mode }, inbox, answers) {
    const negotiation = mode ? { versionNegotiation: { mode } } : {};
    const client = new Client({ name: 'check', version: '1' }, { capabilities: CAPABILITIES, ...negotiation });
    client.setRequestHandler('sampling/createMessage', answers.sample);
    client.setRequestHandler('elicitation/create', answers.elicit);
    client.setRequestHandler('roots/list', answers.roots);
    await client.connect(inbox.tap(new TRANSPORTS[transport](url, { requestInit: { headers } })));
    return client;
}
