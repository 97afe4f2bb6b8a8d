// What passes on the wire, the same for both SDKs.
export const SAMPLE = {
    role: 'assistant',
    content: { type: 'text', text: 'a sample from the client' },
    model: 'model-of-the-client',
    stopReason: 'endTurn',
};
export const ELICITED = { action: 'accept', content: { name: 'Ada Lovelace', integer: 7 } };
export const CAPABILITIES = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };

// What the client answers to the server's requests, and what it was asked.
export class Answers {
    asked = [];
    listed = [{ uri: 'file:///home/user/first', name: 'first root' }];

    sample = request => (this.asked.push(request.params), SAMPLE);
    elicit = ({ params }) => (this.asked.push(params), params.mode === 'url' ? { action: 'accept' } : ELICITED);
    roots = () => ({ roots: this.listed });
}

// Every message the server sent, in order of arrival.
export class Inbox {
    messages = [];
    #waiting = new Set();

    // Both SDKs call an `onmessage` that was there before them, and then handle the message.
    tap(transport) {
        transport.onmessage = message => {
            this.messages.push(message);
            for (const look of this.#waiting) look();
        };
        return transport;
    }

    answers(mark = 0) {
        return this.messages.slice(mark).filter(message => 'result' in message || 'error' in message);
    }

    last() {
        const message = this.messages.length ? JSON.stringify(this.messages.at(-1)).slice(0, 200) : 'none';
        return `last message: ${message}`;
    }

    // Waits for the first such notification after the mark; the check's deadline bounds it.
    notification(method, mark, wanted = () => true) {
        return new Promise(resolve => {
            const look = () => {
                const found = this.messages.slice(mark).find(m => m.method === method && wanted(m.params ?? {}));
                if (!found) return;
                this.#waiting.delete(look);
                resolve(found.params ?? {});
            };
            this.#waiting.add(look);
            look();
        });
    }
}
