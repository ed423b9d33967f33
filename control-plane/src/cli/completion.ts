import { Argument, type Command } from 'commander';
import { type Done, examples } from './command.ts';
import { EXIT, type Io } from './io.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** The scripts ask the command itself with each TAB: they never lag behind what it can do. */
const SCRIPTS: Record<Shell, string> = {
  bash: `# sipfleet completion bash > /etc/bash_completion.d/sipfleet
_sipfleet() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(sipfleet __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _sipfleet sipfleet
`,
  zsh: `#compdef sipfleet
# sipfleet completion zsh > "\${fpath[1]}/_sipfleet"
_sipfleet() {
  local -a found
  found=(\${(f)"$(sipfleet __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( \${#found} )); then compadd -- $found; else _files; fi
}
if [ "$funcstack[1]" = "_sipfleet" ]; then _sipfleet "$@"; else compdef _sipfleet sipfleet; fi
`,
  fish: `# sipfleet completion fish > ~/.config/fish/completions/sipfleet.fish
complete -c sipfleet -a '(sipfleet __complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
};

/**
 * What may stand where the last of `words` begins: commands, options, or the values of an option or argument that has a choice. Empty: a file,
 * or something that only the user knows.
 */
export function completions(program: Command, words: readonly string[]): string[] {
  const typed = words.at(-1) ?? '';
  let at = program;
  let argument = 0;
  let pending: string[] | undefined;
  for (const word of words.slice(0, -1)) {
    if (pending !== undefined) pending = undefined;
    else if (word.startsWith('-')) pending = valuesOf(at, program, word);
    else {
      const next = at.commands.find((command) => command.name() === word || command.aliases().includes(word));
      if (next === undefined) argument++;
      else [at, argument] = [next, 0];
    }
  }
  if (pending !== undefined) return pending.filter((value) => value.startsWith(typed));
  const all = typed.startsWith('-')
    ? optionsOf(at, program)
    : [...namesOf(at), ...(at.registeredArguments[argument]?.argChoices ?? [])];
  return all.filter((value) => value.startsWith(typed)).sort();
}

const namesOf = (command: Command): string[] =>
  command
    .createHelp()
    .visibleCommands(command)
    .map((sub) => sub.name());

const optionsOf = (command: Command, program: Command): string[] =>
  [...new Set([...command.createHelp().visibleOptions(command), ...program.options])].flatMap(({ long }) => long ?? []);

/** Choices of an option that takes a value, none where it takes any; undefined: it takes none. */
function valuesOf(command: Command, program: Command, word: string): string[] | undefined {
  const option = [...command.options, ...program.options].find(({ short, long }) => word === short || word === long);
  if (option === undefined || word.includes('=') || (!option.required && !option.optional)) return undefined;
  return option.argChoices ?? [];
}

/** `sipfleet completion SHELL`, and what its scripts ask. */
export function addCompletion(program: Command, io: Io, done: Done): void {
  program
    .command('completion')
    .description('print what makes a shell complete commands and options')
    .addArgument(new Argument('<shell>', 'for this shell').choices(SHELLS))
    .addHelpText(
      'after',
      examples(
        'completion bash > /etc/bash_completion.d/sipfleet',
        'completion fish > ~/.config/fish/completions/sipfleet.fish',
      ),
    )
    .action((shell: Shell) => {
      io.out(SCRIPTS[shell]);
      done(EXIT.ok);
    });
  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .action((words: string[]) => {
      io.out(
        completions(program, words)
          .map((value) => `${value}\n`)
          .join(''),
      );
      done(EXIT.ok);
    });
}
