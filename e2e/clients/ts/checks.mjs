// The checks. Each returns what it saw; `Skip` means the server lacks it.
// ../python/checks.py holds the same checks for the Python SDKs.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { ensure, expect, Skip } from '../common.mjs';
import { ELICITED, SAMPLE } from './wire.mjs';

// Every item of a list, through all its pages.
async function pages(fetch, kind) {
    const items = [];
    let cursor;
    do {
        const page = await fetch(cursor === undefined ? undefined : { cursor });
        items.push(...page[kind]);
        cursor = page.nextCursor;
    } while (cursor !== undefined);
    return items;
}

const tools = ({ client }) => pages(params => client.listTools(params), 'tools');
const resources = ({ client }) => pages(params => client.listResources(params), 'resources');
const templates = ({ client }) => pages(params => client.listResourceTemplates(params), 'resourceTemplates');
const prompts = ({ client }) => pages(params => client.listPrompts(params), 'prompts');

// The name at this endpoint, or a skip when the server has no such thing.
async function named(list, peer, name) {
    const full = peer.prefix + name;
    if (!(await list(peer)).some(item => item.name === full)) throw new Skip(`no ${full} is listed`);
    return full;
}

export function capability({ info }, name) {
    if (!(name in info.capabilities)) throw new Skip(`the server declares no ${name}`);
    return info.capabilities[name];
}

async function call(peer, name, args = {}, options) {
    return peer.client.callTool({ name: await named(tools, peer, name), arguments: args }, options);
}

function text(result) {
    ensure(!result.isError, `the tool failed: ${JSON.stringify(result.content)}`);
    return result.content.map(block => block.text ?? '').join('\n');
}

export const isModern = ({ info }) => info.protocolVersion >= '2026-07-28';

const contents = async ({ client }, uri) => (await client.readResource({ uri })).contents;

// A URI made from the server's template of text resources.
async function dynamicUri(peer, number) {
    capability(peer, 'resources');
    const listed = await templates(peer);
    const mine = ({ uriTemplate }) => uriTemplate.startsWith(peer.address) && uriTemplate.endsWith('text/{resourceId}');
    const template = listed.find(mine);
    if (!template) throw new Skip(`no template that this check knows among ${listed.length}`);
    return template.uriTemplate.replace('{resourceId}', number);
}

async function initialize({ info: { serverInfo, protocolVersion } }) {
    ensure(serverInfo?.name, 'the server has no name');
    return `${serverInfo.name} ${serverInfo.version}, ${protocolVersion}`;
}

async function list(peer) {
    let listed = await tools(peer);
    // On the aggregate, what a server has for clients that can do certain things comes when it was asked for that.
    while (peer.prefix && peer.answers && !listed.some(({ name }) => name === `${peer.prefix}get-roots-list`)) {
        await sleep(200);
        listed = await tools(peer);
    }
    const names = listed.map(tool => tool.name);
    ensure(names.some(name => name.startsWith(peer.prefix)), `no tool begins with '${peer.prefix}': ${names}`);
    expect(new Set(names).size, names.length, 'distinct names');
    expect(listed.filter(tool => tool.inputSchema.type !== 'object'), [], 'tools without a schema');
    return `${names.length} tools`;
}

async function callCheck(peer) {
    const names = (await tools(peer)).map(tool => tool.name);
    if (names.includes(`${peer.prefix}echo`)) {
        const message = `héllo ${randomUUID()}`;
        expect(text(await call(peer, 'echo', { message })), `Echo: ${message}`, 'echo');
        expect(text(await call(peer, 'get-sum', { a: 2, b: 40 })), 'The sum of 2 and 40 is 42.', 'sum');
        return 'echo, get-sum';
    }
    if (names.includes(`${peer.prefix}get_current_time`)) {
        const now = JSON.parse(text(await call(peer, 'get_current_time', { timezone: 'Europe/Paris' })));
        expect(now.timezone, 'Europe/Paris', 'timezone');
        return `get_current_time: ${now.datetime}`;
    }
    throw new Skip('no tool that this check knows');
}

// Judged on the wire: the SDK hands a report that shares a chunk with the answer to nobody.
async function progress(peer) {
    const { inbox } = peer;
    const mark = inbox.messages.length;
    let handed = 0;
    const onprogress = () => handed++;
    await call(peer, 'trigger-long-running-operation', { duration: 1, steps: 4 }, { onprogress });
    const reports = inbox.messages.slice(mark).filter(({ method }) => method === 'notifications/progress');
    expect(reports.map(({ params }) => [params.progress, params.total]), [1, 2, 3, 4].map(step => [step, 4]), 'progress');
    ensure(inbox.messages.indexOf(reports.at(-1)) < inbox.messages.length - 1, 'the answer came before the last report');
    ensure(handed >= 3, `the application got ${handed} of 4 reports`);
    return `${reports.length} steps in order, then the answer`;
}

async function log(peer) {
    capability(peer, 'logging');
    const toggle = { name: await named(tools, peer, 'toggle-simulated-logging'), arguments: {} };
    // From 2026-07-28 on requests say themselves what they want logged.
    if (isModern(peer)) toggle._meta = { 'io.modelcontextprotocol/logLevel': 'debug' };
    else await peer.client.setLoggingLevel('debug');
    const mark = peer.inbox.messages.length;
    await peer.client.callTool(toggle);
    try {
        const simulated = params => /level.message/i.test(params.data);
        const entry = await peer.inbox.notification('notifications/message', mark, simulated);
        return `${entry.level}: ${entry.data}`;
    } finally {
        await peer.client.callTool(toggle);
    }
}

// A cancelled call is never answered, and the session goes on.
async function cancel(peer) {
    const name = await named(tools, peer, 'trigger-long-running-operation');
    const mark = peer.inbox.messages.length;
    const abort = new AbortController();
    const running = peer.client
        .callTool({ name, arguments: { duration: 2, steps: 8 } }, { signal: abort.signal, onprogress() {} })
        .then(() => 'answered', () => 'rejected');
    await peer.inbox.notification('notifications/progress', mark);
    abort.abort('check');
    expect(await running, 'rejected', 'the call');
    await sleep(3000);
    expect(peer.inbox.answers(mark), [], 'answers to a cancelled call');
    expect(text(await call(peer, 'echo', { message: 'on' })), 'Echo: on', 'the session afterwards');
    return 'no answer within 3 s, session alive';
}

async function sampling(peer) {
    const prompt = `prompt ${randomUUID()}`;
    const result = text(await call(peer, 'trigger-sampling-request', { prompt, maxTokens: 17 }));
    const asked = peer.answers.asked.at(-1);
    ensure(JSON.stringify(asked.messages).includes(prompt), 'another request reached the client');
    expect(asked.maxTokens, 17, 'maxTokens');
    for (const wanted of [SAMPLE.content.text, SAMPLE.model]) {
        ensure(result.includes(wanted), `'${wanted}' did not come back: ${result}`);
    }
    return 'the sample came back';
}

async function elicitation(peer) {
    const result = text(await call(peer, 'trigger-elicitation-request'));
    ensure('name' in peer.answers.asked.at(-1).requestedSchema.properties, 'the schema was lost');
    ensure(result.includes(ELICITED.content.name), `the answer did not come back: ${result}`);
    return 'the answer came back';
}

async function elicitationUrl(peer) {
    const url = `https://example.com/${randomUUID()}`;
    const result = text(await call(peer, 'trigger-url-elicitation', { url }));
    const asked = peer.answers.asked.at(-1);
    expect([asked.mode, asked.url], ['url', url], 'what was asked');
    ensure(/accept|User completed/.test(result), `the answer did not come back: ${result}`);
    return 'the answer came back';
}

async function roots(peer) {
    const { client, answers } = peer;
    const name = await named(tools, peer, 'get-roots-list');
    // The server asks for roots by itself, some time after the handshake or a change.
    const shown = async () => {
        for (;;) {
            const result = text(await client.callTool({ name, arguments: {} }));
            if (answers.listed.every(({ uri }) => result.includes(uri))) return;
            await sleep(100);
        }
    };
    await shown();
    if (isModern(peer)) return `${answers.listed.length} roots; that revision has no list_changed`;
    answers.listed.push({ uri: `file:///home/user/${randomUUID()}`, name: 'later root' });
    await client.sendRootsListChanged();
    await shown();
    return `${answers.listed.length} roots, the last after list_changed`;
}

async function resourcesCheck(peer) {
    capability(peer, 'resources');
    const listed = await resources(peer);
    const document = listed.find(({ uri }) => uri.startsWith(peer.address) && uri.endsWith('instructions.md'));
    if (!document) throw new Skip(`no resource that this check knows among ${listed.length}`);
    const [content] = await contents(peer, document.uri);
    expect(content.uri, document.uri, 'uri');
    ensure(content.text.includes('Everything'), `another text: ${content.text.slice(0, 80)}`);
    return `${listed.length} resources, read ${document.uri}`;
}

async function templatesCheck(peer) {
    const uri = await dynamicUri(peer, 7);
    const [content] = await contents(peer, uri);
    ensure(content.text.startsWith('Resource 7:'), `another resource: ${content.text}`);
    return `read ${uri}`;
}

async function promptsCheck(peer) {
    capability(peer, 'prompts');
    const name = await named(prompts, peer, 'args-prompt');
    const { messages } = await peer.client.getPrompt({ name, arguments: { city: 'Zürich', state: 'ZH' } });
    expect(messages[0].content.text, "What's weather in Zürich, ZH?", 'prompt');
    return name;
}

async function completion(peer) {
    capability(peer, 'completions');
    const complete = async (ref, name, value, context) => {
        const given = context && { context: { arguments: context } };
        return (await peer.client.complete({ ref, argument: { name, value }, ...given })).completion.values;
    };
    const prompt = { type: 'ref/prompt', name: await named(prompts, peer, 'completable-prompt') };
    expect(await complete(prompt, 'department', 'E'), ['Engineering'], 'department');
    expect(await complete(prompt, 'name', '', { department: 'Sales' }), ['David', 'Eve', 'Frank'], 'name');
    const template = { type: 'ref/resource', uri: await dynamicUri(peer, '{resourceId}') };
    expect(await complete(template, 'resourceId', '3'), ['3'], 'resourceId');
    return 'prompt, prompt with context, template';
}

async function subscribe(peer) {
    const { client, inbox } = peer;
    const toggle = { name: await named(tools, peer, 'toggle-subscriber-updates'), arguments: {} };
    if (!capability(peer, 'resources').subscribe) throw new Skip('the server takes no subscriptions');
    const uri = await dynamicUri(peer, 1);
    // From 2026-07-28 on a client listens instead.
    const listening = isModern(peer) && (await client.listen({ resourceSubscriptions: [uri] }));
    if (!listening) await client.subscribeResource({ uri });
    const mark = inbox.messages.length;
    await client.callTool(toggle);
    try {
        await inbox.notification('notifications/resources/updated', mark, params => params.uri === uri);
    } finally {
        await client.callTool(toggle);
    }
    await (listening ? listening.close() : client.unsubscribeResource({ uri }));
    return `updated ${uri}`;
}

// A tool makes a resource: the client is told, lists it and reads it.
async function listChanged(peer) {
    const content = 'made by a check';
    const data = `data:text/plain;base64,${Buffer.from(content).toString('base64')}`;
    const listening = isModern(peer) && (await peer.client.listen({ resourcesListChanged: true }));
    const mark = peer.inbox.messages.length;
    const wanted = { name: `${randomUUID()}.gz`, data, outputType: 'resourceLink' };
    const { uri } = (await call(peer, 'gzip-file-as-resource', wanted)).content[0];
    await peer.inbox.notification('notifications/resources/list_changed', mark);
    if (listening) await listening.close();
    while (!(await resources(peer)).some(resource => resource.uri === uri)) await sleep(100);
    const [{ blob }] = await contents(peer, uri);
    expect(gunzipSync(Buffer.from(blob, 'base64')).toString(), content, 'content');
    return `told, listed and read ${uri}`;
}

async function ping(peer) {
    if (isModern(peer)) return 'that revision has none';
    await peer.client.ping();
    return 'answered';
}

// Below 1 MiB, which is what the Python SDK 2.x takes by itself.
const large = peer => thereAndBack(peer, 'größe '.repeat(110_000));
const huge = peer => thereAndBack(peer, 'größe '.repeat(1_250_000));

async function thereAndBack(peer, message) {
    expect(text(await call(peer, 'echo', { message })).length, message.length + 'Echo: '.length, 'length');
    return `${Buffer.byteLength(message)} bytes there and back`;
}

// The network breaks at the first step of a call of seven (see e2e/src/matrix/relay.rs).
async function resume(peer) {
    if (peer.transport === 'sse') throw new Skip('a new connection of HTTP+SSE is a new session');
    const options = { onprogress() {}, timeout: 20_000 };
    text(await call(peer, 'trigger-long-running-operation', { duration: 2, steps: 7 }, options));
    return 'answered';
}

// Over the whole session: no request was answered twice.
async function answers({ inbox }) {
    const ids = inbox.answers().map(({ id }) => id);
    expect(new Set(ids).size, ids.length, 'distinct ids');
    return `${ids.length} answers`;
}

export const checks = {
    initialize,
    list,
    call: callCheck,
    progress,
    log,
    cancel,
    sampling,
    elicitation,
    elicitation_url: elicitationUrl,
    roots,
    resources: resourcesCheck,
    templates: templatesCheck,
    prompts: promptsCheck,
    completion,
    subscribe,
    list_changed: listChanged,
    ping,
    large,
    huge,
    resume,
    answers,
};
