// The TypeScript SDK of the 1.x line.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
    CreateMessageRequestSchema,
    ElicitRequestSchema,
    ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { CAPABILITIES } from './wire.mjs';

const TRANSPORTS = { sse: SSEClientTransport, http: StreamableHTTPClientTransport };

export async function connect({ url, transport, headers, mode }, inbox, answers) {
    if (mode && mode !== 'legacy') throw new Error(`this SDK has no mode '${mode}'`);
    const client = new OneCallSignature({ name: 'check', version: '1' }, { capabilities: CAPABILITIES });
    client.setRequestHandler(CreateMessageRequestSchema, answers.sample);
    client.setRequestHandler(ElicitRequestSchema, answers.elicit);
    client.setRequestHandler(ListRootsRequestSchema, answers.roots);
    await client.connect(inbox.tap(new TRANSPORTS[transport](url, { requestInit: { headers } })));
    return client;
}

// The 2.x line dropped the parameter for the schema of the result.
class OneCallSignature extends Client {
    callTool(params, options) {
        return super.callTool(params, undefined, options);
    }
}
