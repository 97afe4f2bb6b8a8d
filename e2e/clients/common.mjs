// The command line and the report of every driver in JavaScript (see run).
import { parseArgs } from 'node:util';

export class Skip extends Error {}

export function options(args, names) {
    try {
        const { values } = parseArgs({
            args,
            options: {
                url: { type: 'string' },
                transport: { type: 'string', default: 'http' },
                header: { type: 'string', multiple: true, default: [] },
                prefix: { type: 'string', default: '' },
                mode: { type: 'string' },
                timeout: { type: 'string', default: '15' },
                checks: { type: 'string', default: names.join() },
            },
        });
        if (!values.url) throw new Error('--url is missing');
        if (!['sse', 'http'].includes(values.transport)) throw new Error(`unknown transport ${values.transport}`);
        const checks = values.checks.split(',');
        const unknown = checks.filter(name => !names.includes(name));
        if (unknown.length) throw new Error(`unknown checks: ${unknown}`);
        const headers = Object.fromEntries(values.header.map(header => header.split(/:\s*(.*)/s).slice(0, 2)));
        return { ...values, url: new URL(values.url), headers, timeout: Number(values.timeout), checks };
    } catch (error) {
        console.error(error.message);
        process.exit(2);
    }
}

export function expect(seen, wanted, what) {
    const [a, b] = [JSON.stringify(seen), JSON.stringify(wanted)];
    if (a !== b) throw new Error(`${what}: wanted ${b}, got ${a}`.slice(0, 500));
}

export function ensure(condition, message) {
    if (!condition) throw new Error(message);
}

// What `promise` brings within so many seconds, or an error that ends with `last()`.
export async function within(timeout, promise, last = () => '') {
    let timer;
    const deadline = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`nothing after ${timeout} s; ${last()}`)), timeout * 1000);
    });
    return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

async function verdict(attempt) {
    try {
        return { ok: true, detail: await attempt() };
    } catch (error) {
        if (error instanceof Skip) return { ok: true, skipped: true, detail: error.message };
        return { ok: false, detail: [error, error.code ?? '', error.cause ?? ''].join(' ').trim() };
    }
}

// Runs each check on the peer that `session` brings; without one every check has failed.
// `last` tells what the server said last, for the detail of a check that waited in vain.
export async function runChecks({ checks, timeout }, table, session, last) {
    let peer;
    const opened = await verdict(async () => void (peer = await within(timeout, session, last)));
    let ok = true;
    for (const name of checks) {
        const result = opened.ok
            ? await verdict(() => within(timeout, table[name](peer), last))
            : { ok: false, detail: `no session: ${opened.detail}` };
        console.log(JSON.stringify({ check: name, ...result }));
        ok &&= result.ok;
    }
    return ok;
}
