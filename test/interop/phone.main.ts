import { createInterface } from 'node:readline';
import { value } from '../netns/wire.ts';
import { type Call, Phone } from './phone.ts';
import { type LineTransport, openLine } from './phone-line.ts';

/**
 * A {@link Phone} as a process of its own, inside a test's namespace: `phone.main.ts TRANSPORT HOST PORT USER PASSWORD DOMAIN`. Registers, answers calls, and
 * does what lines on its input say: `reconnect` opens another connection and registers over it, `hangup` ends every call that is up.
 * Prints `registered`, `up N`, `over N` as the numbers change, `lost` when its connection has ended.
 */
const [transport, host, port, user, password, domain] = process.argv.slice(2) as [
  LineTransport,
  string,
  string,
  string,
  string,
  string,
];
const say = (text: string) => process.stdout.write(`${text}\n`);
const open = async () => {
  const line = await openLine(transport, { host, port: Number(port) });
  void line.closed.then(() => say('lost'));
  return line;
};

const phone = new Phone(await open(), { user, password, domain });
const register = async () => say((await phone.register()).at(-1) === 200 ? 'registered' : 'refused');
await register();

const calls: Call[] = [];
async function answer(): Promise<void> {
  for (let n = 0; ; n++) {
    const call = await phone.called(n);
    calls.push(call);
    say(`up ${calls.length}`);
  }
}
// Nobody calls for longer than a test waits: what comes later is not this test's.
void answer().catch(() => {});

let over = 0;
setInterval(() => {
  const ended = phone.received.filter((m) => m.method === 'BYE').map((m) => value(m, 'call-id'));
  const count = new Set(ended).size;
  if (count !== over) say(`over ${count}`);
  over = count;
}, 50);

for await (const command of createInterface({ input: process.stdin })) {
  if (command === 'reconnect') {
    phone.moveTo(await open());
    await register();
  } else if (command === 'hangup') {
    let done = 0;
    await Promise.all(calls.map(async (call) => (await call.hangUp()).status === 200 && done++));
    say(`ended ${done}`);
  }
}
