import type { Command, Option } from 'commander';

/** docs/cli.md: every command with its options, made of the same definitions as `--help`. */
export function reference(program: Command): string {
  const head = `# sipfleet

Made of the definitions of the commands (\`npm run docs:cli\`); a test holds it to them.

| exit code | means |
| --- | --- |
| 0 | done |
| 1 | error: one line on standard error for each |
| 2 | differences (\`diff\`, \`drift\`) |
| 3 | the rollout was rolled back (what waits for one: \`--wait\`, \`rollout status --watch\`) |

Which control plane: \`--url\` or \`--context\`, else \`SIPFLEET_URL\`, else \`SIPFLEET_CONTEXT\`, else the context in use (\`sipfleet context use\`), else http://127.0.0.1:8080.
Which token: \`--token\` or \`--token-file\`, else that of the context where one is used, else \`SIPFLEET_TOKEN\`, else \`./var/token\`.
Colours stand on a terminal alone, and not where \`NO_COLOR\` is set.

## Options of every command

${optionTable(program.options)}
`;
  return `${head}${visible(program)
    .map((command) => section(command, 'sipfleet'))
    .join('')}`;
}

const visible = (command: Command): Command[] =>
  command
    .createHelp()
    .visibleCommands(command)
    .filter((sub) => sub.name() !== 'help');

function section(command: Command, path: string): string {
  const name = `${path} ${command.name()}`;
  const args = command.registeredArguments.map((arg) => {
    const text = arg.variadic ? `${arg.name()}...` : arg.name();
    return arg.required ? `<${text}>` : `[${text}]`;
  });
  const options = command.options.filter(({ hidden }) => !hidden);
  const parts = [
    `\n## ${name}\n\n`,
    `\`${[name, ...args, ...(options.length > 0 ? ['[options]'] : [])].join(' ')}\`\n\n`,
    `${sentence(command.description())}\n`,
    options.length === 0 ? '' : `\n${optionTable(options)}\n`,
  ];
  return `${parts.join('')}${visible(command)
    .map((sub) => section(sub, name))
    .join('')}`;
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

function optionTable(options: readonly Option[]): string {
  const rows = options.map((option) => {
    const choices = option.argChoices === undefined ? '' : ` (${option.argChoices.join(', ')})`;
    const preset =
      option.defaultValue === undefined || option.defaultValue === false
        ? ''
        : ` (default: ${option.defaultValueDescription ?? String(option.defaultValue)})`;
    return `| \`${option.flags.replaceAll('|', '\\|')}\` | ${`${option.description}${choices}${preset}`.replaceAll('|', '\\|')} |`;
  });
  return ['| option | |', '| --- | --- |', ...rows].join('\n');
}
