// Runs the checks that fit in one request with the Inspector's CLI, a process for each (see ../run).
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { options as parse, runChecks, Skip } from '../common.mjs';
import { capability, checks } from '../ts/checks.mjs';

const CLI = join(import.meta.dirname, 'node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js');
const FITS = ['initialize', 'list', 'call', 'log', 'resources', 'templates', 'prompts'];

const run = promisify(execFile);
const options = parse(process.argv.slice(2), Object.keys(checks));
const home = mkdtempSync(join(tmpdir(), 'inspector-')); // It keeps a catalogue and credentials there.

async function request(method, ...args) {
    const headers = Object.entries(options.headers).flatMap(([name, value]) => ['--header', `${name}: ${value}`]);
    const era = options.mode ? ['--protocol-era', options.mode] : [];
    const target = ['--server-url', options.url.href, '--transport', options.transport, ...headers, ...era];
    const patience = ['--connect-timeout', `${options.timeout * 1000}`];
    const general = ['--cli', '--quiet', '--format', 'json', '--stored-auth-only', ...patience];
    const command = [CLI, ...general, ...target, '--method', method];
    const limits = { timeout: options.timeout * 1000, maxBuffer: 64 << 20 };
    const running = run(process.execPath, [...command, ...args], { ...limits, env: { ...process.env, HOME: home } });
    const { stdout } = await running.catch(error => {
        throw new Error(error.stderr?.trim() || error.message);
    });
    return JSON.parse(stdout).result;
}

// The part of an SDK's client that the checks above need.
const client = {
    listTools: () => request('tools/list'),
    listResources: () => request('resources/list'),
    listResourceTemplates: () => request('resources/templates/list'),
    listPrompts: () => request('prompts/list'),
    readResource: ({ uri }) => request('resources/read', '--uri', uri),
    callTool: ({ name, arguments: args }) =>
        request('tools/call', '--tool-name', name, '--tool-args-json', JSON.stringify(args)),
    getPrompt: ({ name, arguments: args }) =>
        request('prompts/get', '--prompt-name', name, '--prompt-args', ...Object.entries(args).map(pair => pair.join('='))),
};

const skip = async () => {
    throw new Skip("the Inspector's CLI has one request a session");
};
const log = async peer => {
    capability(peer, 'logging');
    await request('logging/setLevel', '--log-level', 'debug');
    return 'level set';
};
const table = Object.fromEntries(Object.entries(checks).map(([name, check]) => [name, FITS.includes(name) ? check : skip]));

const session = request('initialize').then(info => ({ client, info, prefix: options.prefix, address: options.prefix && `${options.prefix.slice(0, -1)}+` }));
const ok = await runChecks(options, { ...table, log }, session);
rmSync(home, { recursive: true, force: true });
process.exit(ok ? 0 : 1);
