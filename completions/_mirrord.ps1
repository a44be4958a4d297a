
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'mirrord' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'mirrord'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'mirrord' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('preview', 'preview', [CompletionResultType]::ParameterValue, 'Start, look at and stop preview environments')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the completion script for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print the manual page')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mirrord;preview' {
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The kubeconfig''s context')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'The kubeconfig to use')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('start', 'start', [CompletionResultType]::ParameterValue, 'Start an environment, or replace the one with the same key and target')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show environments')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Stop environments and wait until they are gone')
            [CompletionResult]::new('extend', 'extend', [CompletionResultType]::ParameterValue, 'Change the remaining lifetime of running environments')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Check whether `start` would succeed, without creating anything')
            [CompletionResult]::new('rbac', 'rbac', [CompletionResultType]::ParameterValue, 'Print the roles that an admin can apply once, for users who may not create roles')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mirrord;preview;start' {
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'The image to run in place of the target''s')
            [CompletionResult]::new('--image', '--image', [CompletionResultType]::ParameterName, 'The image to run in place of the target''s')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The live workload to copy, as in `deployment/shop` or `deployment/shop/container/web`')
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'The live workload to copy, as in `deployment/shop` or `deployment/shop/container/web`')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'The target''s namespace')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'The target''s namespace')
            [CompletionResult]::new('--target-namespace', '--target-namespace', [CompletionResultType]::ParameterName, 'The target''s namespace')
            [CompletionResult]::new('--ttl', '--ttl', [CompletionResultType]::ParameterName, 'How long it lives once it is ready: minutes, a duration like `90s` or `2h`, or `infinite` [default: 60]')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait until it is ready: seconds, or a duration like `5m` [default: 60]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Print the objects')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Print the objects')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The kubeconfig''s context')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'The kubeconfig to use')
            [CompletionResult]::new('--no-wait', '--no-wait', [CompletionResultType]::ParameterName, 'Do not wait until it is ready; the time to live starts now')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Create nothing; with `-o`, print what would be created')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Accepted without effect: an environment is always replaced')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mirrord;preview;status' {
            [CompletionResult]::new('--glob', '--glob', [CompletionResultType]::ParameterName, 'Select the environments whose key matches; `*` also crosses `/`')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'Select environments on this target only')
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'Select environments on this target only')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Look in this namespace only')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Look in this namespace only')
            [CompletionResult]::new('--target-namespace', '--target-namespace', [CompletionResultType]::ParameterName, 'Look in this namespace only')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'The output format')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'The output format')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The kubeconfig''s context')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'The kubeconfig to use')
            [CompletionResult]::new('-A', '-A ', [CompletionResultType]::ParameterName, 'Look in every namespace')
            [CompletionResult]::new('--all-namespaces', '--all-namespaces', [CompletionResultType]::ParameterName, 'Look in every namespace')
            [CompletionResult]::new('--failed', '--failed', [CompletionResultType]::ParameterName, 'Show starts that failed because of the preview pod; each is kept for 15 minutes')
            [CompletionResult]::new('-w', '-w', [CompletionResultType]::ParameterName, 'Print again after each change, until interrupted')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Print again after each change, until interrupted')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mirrord;preview;stop' {
            [CompletionResult]::new('--glob', '--glob', [CompletionResultType]::ParameterName, 'Select the environments whose key matches; `*` also crosses `/`')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'Select environments on this target only')
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'Select environments on this target only')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Look in this namespace only')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Look in this namespace only')
            [CompletionResult]::new('--target-namespace', '--target-namespace', [CompletionResultType]::ParameterName, 'Look in this namespace only')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The kubeconfig''s context')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'The kubeconfig to use')
            [CompletionResult]::new('-A', '-A ', [CompletionResultType]::ParameterName, 'Look in every namespace')
            [CompletionResult]::new('--all-namespaces', '--all-namespaces', [CompletionResultType]::ParameterName, 'Look in every namespace')
            [CompletionResult]::new('--ignore-not-found', '--ignore-not-found', [CompletionResultType]::ParameterName, 'Succeed if there is nothing to stop')
            [CompletionResult]::new('--no-wait', '--no-wait', [CompletionResultType]::ParameterName, 'Do not wait until everything is gone')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mirrord;preview;extend' {
            [CompletionResult]::new('--glob', '--glob', [CompletionResultType]::ParameterName, 'Select the environments whose key matches; `*` also crosses `/`')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'Select environments on this target only')
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'Select environments on this target only')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Look in this namespace only')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Look in this namespace only')
            [CompletionResult]::new('--target-namespace', '--target-namespace', [CompletionResultType]::ParameterName, 'Look in this namespace only')
            [CompletionResult]::new('--ttl', '--ttl', [CompletionResultType]::ParameterName, 'How long they live from now: minutes, a duration like `90s` or `2h`, or `infinite`')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The kubeconfig''s context')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'The kubeconfig to use')
            [CompletionResult]::new('-A', '-A ', [CompletionResultType]::ParameterName, 'Look in every namespace')
            [CompletionResult]::new('--all-namespaces', '--all-namespaces', [CompletionResultType]::ParameterName, 'Look in every namespace')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mirrord;preview;doctor' {
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The live workload to copy, as in `deployment/shop`')
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'The live workload to copy, as in `deployment/shop`')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'The target''s namespace')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'The target''s namespace')
            [CompletionResult]::new('--target-namespace', '--target-namespace', [CompletionResultType]::ParameterName, 'The target''s namespace')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The kubeconfig''s context')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'The kubeconfig to use')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mirrord;preview;rbac' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'The namespace of the targets; else the context''s')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'The namespace of the targets; else the context''s')
            [CompletionResult]::new('--target-namespace', '--target-namespace', [CompletionResultType]::ParameterName, 'The namespace of the targets; else the context''s')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'Bind the users'' Role to this user')
            [CompletionResult]::new('--group', '--group', [CompletionResultType]::ParameterName, 'Bind it to this group of users')
            [CompletionResult]::new('--service-account', '--service-account', [CompletionResultType]::ParameterName, 'Bind it to this ServiceAccount, as in `ci` or `runners/ci`')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'The environment''s key')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Read mirrord.json; `-` reads standard input')
            [CompletionResult]::new('--context', '--context', [CompletionResultType]::ParameterName, 'The kubeconfig''s context')
            [CompletionResult]::new('--kubeconfig', '--kubeconfig', [CompletionResultType]::ParameterName, 'The kubeconfig to use')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mirrord;preview;help' {
            [CompletionResult]::new('start', 'start', [CompletionResultType]::ParameterValue, 'Start an environment, or replace the one with the same key and target')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show environments')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Stop environments and wait until they are gone')
            [CompletionResult]::new('extend', 'extend', [CompletionResultType]::ParameterValue, 'Change the remaining lifetime of running environments')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Check whether `start` would succeed, without creating anything')
            [CompletionResult]::new('rbac', 'rbac', [CompletionResultType]::ParameterValue, 'Print the roles that an admin can apply once, for users who may not create roles')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mirrord;preview;help;start' {
            break
        }
        'mirrord;preview;help;status' {
            break
        }
        'mirrord;preview;help;stop' {
            break
        }
        'mirrord;preview;help;extend' {
            break
        }
        'mirrord;preview;help;doctor' {
            break
        }
        'mirrord;preview;help;rbac' {
            break
        }
        'mirrord;preview;help;help' {
            break
        }
        'mirrord;completions' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mirrord;man' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mirrord;help' {
            [CompletionResult]::new('preview', 'preview', [CompletionResultType]::ParameterValue, 'Start, look at and stop preview environments')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the completion script for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print the manual page')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'mirrord;help;preview' {
            [CompletionResult]::new('start', 'start', [CompletionResultType]::ParameterValue, 'Start an environment, or replace the one with the same key and target')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show environments')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Stop environments and wait until they are gone')
            [CompletionResult]::new('extend', 'extend', [CompletionResultType]::ParameterValue, 'Change the remaining lifetime of running environments')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Check whether `start` would succeed, without creating anything')
            [CompletionResult]::new('rbac', 'rbac', [CompletionResultType]::ParameterValue, 'Print the roles that an admin can apply once, for users who may not create roles')
            break
        }
        'mirrord;help;preview;start' {
            break
        }
        'mirrord;help;preview;status' {
            break
        }
        'mirrord;help;preview;stop' {
            break
        }
        'mirrord;help;preview;extend' {
            break
        }
        'mirrord;help;preview;doctor' {
            break
        }
        'mirrord;help;preview;rbac' {
            break
        }
        'mirrord;help;completions' {
            break
        }
        'mirrord;help;man' {
            break
        }
        'mirrord;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
