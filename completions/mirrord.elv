
use builtin;
use str;

set edit:completion:arg-completer[mirrord] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'mirrord'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'mirrord'= {
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
            cand preview 'Start, look at and stop preview environments'
            cand completions 'Print the completion script for a shell'
            cand man 'Print the manual page'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'mirrord;preview'= {
            cand -k 'The environment''s key'
            cand --key 'The environment''s key'
            cand -f 'Read mirrord.json; `-` reads standard input'
            cand --config-file 'Read mirrord.json; `-` reads standard input'
            cand --context 'The kubeconfig''s context'
            cand --kubeconfig 'The kubeconfig to use'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand start 'Start an environment, or replace the one with the same key and target'
            cand status 'Show environments'
            cand stop 'Stop environments and wait until they are gone'
            cand extend 'Change the remaining lifetime of running environments'
            cand doctor 'Check whether `start` would succeed, without creating anything'
            cand rbac 'Print the roles that an admin can apply once, for users who may not create roles'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'mirrord;preview;start'= {
            cand -i 'The image to run in place of the target''s'
            cand --image 'The image to run in place of the target''s'
            cand -t 'The live workload to copy, as in `deployment/shop` or `deployment/shop/container/web`'
            cand --target 'The live workload to copy, as in `deployment/shop` or `deployment/shop/container/web`'
            cand -n 'The target''s namespace'
            cand --namespace 'The target''s namespace'
            cand --target-namespace 'The target''s namespace'
            cand --ttl 'How long it lives once it is ready: minutes, a duration like `90s` or `2h`, or `infinite` [default: 60]'
            cand --timeout 'How long to wait until it is ready: seconds, or a duration like `5m` [default: 60]'
            cand -o 'Print the objects'
            cand --output 'Print the objects'
            cand -k 'The environment''s key'
            cand --key 'The environment''s key'
            cand -f 'Read mirrord.json; `-` reads standard input'
            cand --config-file 'Read mirrord.json; `-` reads standard input'
            cand --context 'The kubeconfig''s context'
            cand --kubeconfig 'The kubeconfig to use'
            cand --no-wait 'Do not wait until it is ready; the time to live starts now'
            cand --dry-run 'Create nothing; with `-o`, print what would be created'
            cand --force 'Accepted without effect: an environment is always replaced'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'mirrord;preview;status'= {
            cand --glob 'Select the environments whose key matches; `*` also crosses `/`'
            cand -t 'Select environments on this target only'
            cand --target 'Select environments on this target only'
            cand -n 'Look in this namespace only'
            cand --namespace 'Look in this namespace only'
            cand --target-namespace 'Look in this namespace only'
            cand -o 'The output format'
            cand --output 'The output format'
            cand -k 'The environment''s key'
            cand --key 'The environment''s key'
            cand -f 'Read mirrord.json; `-` reads standard input'
            cand --config-file 'Read mirrord.json; `-` reads standard input'
            cand --context 'The kubeconfig''s context'
            cand --kubeconfig 'The kubeconfig to use'
            cand -A 'Look in every namespace'
            cand --all-namespaces 'Look in every namespace'
            cand --failed 'Show starts that failed because of the preview pod; each is kept for 15 minutes'
            cand -w 'Print again after each change, until interrupted'
            cand --watch 'Print again after each change, until interrupted'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'mirrord;preview;stop'= {
            cand --glob 'Select the environments whose key matches; `*` also crosses `/`'
            cand -t 'Select environments on this target only'
            cand --target 'Select environments on this target only'
            cand -n 'Look in this namespace only'
            cand --namespace 'Look in this namespace only'
            cand --target-namespace 'Look in this namespace only'
            cand -k 'The environment''s key'
            cand --key 'The environment''s key'
            cand -f 'Read mirrord.json; `-` reads standard input'
            cand --config-file 'Read mirrord.json; `-` reads standard input'
            cand --context 'The kubeconfig''s context'
            cand --kubeconfig 'The kubeconfig to use'
            cand -A 'Look in every namespace'
            cand --all-namespaces 'Look in every namespace'
            cand --ignore-not-found 'Succeed if there is nothing to stop'
            cand --no-wait 'Do not wait until everything is gone'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'mirrord;preview;extend'= {
            cand --glob 'Select the environments whose key matches; `*` also crosses `/`'
            cand -t 'Select environments on this target only'
            cand --target 'Select environments on this target only'
            cand -n 'Look in this namespace only'
            cand --namespace 'Look in this namespace only'
            cand --target-namespace 'Look in this namespace only'
            cand --ttl 'How long they live from now: minutes, a duration like `90s` or `2h`, or `infinite`'
            cand -k 'The environment''s key'
            cand --key 'The environment''s key'
            cand -f 'Read mirrord.json; `-` reads standard input'
            cand --config-file 'Read mirrord.json; `-` reads standard input'
            cand --context 'The kubeconfig''s context'
            cand --kubeconfig 'The kubeconfig to use'
            cand -A 'Look in every namespace'
            cand --all-namespaces 'Look in every namespace'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'mirrord;preview;doctor'= {
            cand -t 'The live workload to copy, as in `deployment/shop`'
            cand --target 'The live workload to copy, as in `deployment/shop`'
            cand -n 'The target''s namespace'
            cand --namespace 'The target''s namespace'
            cand --target-namespace 'The target''s namespace'
            cand -k 'The environment''s key'
            cand --key 'The environment''s key'
            cand -f 'Read mirrord.json; `-` reads standard input'
            cand --config-file 'Read mirrord.json; `-` reads standard input'
            cand --context 'The kubeconfig''s context'
            cand --kubeconfig 'The kubeconfig to use'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'mirrord;preview;rbac'= {
            cand -n 'The namespace of the targets; else the context''s'
            cand --namespace 'The namespace of the targets; else the context''s'
            cand --target-namespace 'The namespace of the targets; else the context''s'
            cand --user 'Bind the users'' Role to this user'
            cand --group 'Bind it to this group of users'
            cand --service-account 'Bind it to this ServiceAccount, as in `ci` or `runners/ci`'
            cand -k 'The environment''s key'
            cand --key 'The environment''s key'
            cand -f 'Read mirrord.json; `-` reads standard input'
            cand --config-file 'Read mirrord.json; `-` reads standard input'
            cand --context 'The kubeconfig''s context'
            cand --kubeconfig 'The kubeconfig to use'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'mirrord;preview;help'= {
            cand start 'Start an environment, or replace the one with the same key and target'
            cand status 'Show environments'
            cand stop 'Stop environments and wait until they are gone'
            cand extend 'Change the remaining lifetime of running environments'
            cand doctor 'Check whether `start` would succeed, without creating anything'
            cand rbac 'Print the roles that an admin can apply once, for users who may not create roles'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'mirrord;preview;help;start'= {
        }
        &'mirrord;preview;help;status'= {
        }
        &'mirrord;preview;help;stop'= {
        }
        &'mirrord;preview;help;extend'= {
        }
        &'mirrord;preview;help;doctor'= {
        }
        &'mirrord;preview;help;rbac'= {
        }
        &'mirrord;preview;help;help'= {
        }
        &'mirrord;completions'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mirrord;man'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mirrord;help'= {
            cand preview 'Start, look at and stop preview environments'
            cand completions 'Print the completion script for a shell'
            cand man 'Print the manual page'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'mirrord;help;preview'= {
            cand start 'Start an environment, or replace the one with the same key and target'
            cand status 'Show environments'
            cand stop 'Stop environments and wait until they are gone'
            cand extend 'Change the remaining lifetime of running environments'
            cand doctor 'Check whether `start` would succeed, without creating anything'
            cand rbac 'Print the roles that an admin can apply once, for users who may not create roles'
        }
        &'mirrord;help;preview;start'= {
        }
        &'mirrord;help;preview;status'= {
        }
        &'mirrord;help;preview;stop'= {
        }
        &'mirrord;help;preview;extend'= {
        }
        &'mirrord;help;preview;doctor'= {
        }
        &'mirrord;help;preview;rbac'= {
        }
        &'mirrord;help;completions'= {
        }
        &'mirrord;help;man'= {
        }
        &'mirrord;help;help'= {
        }
    ]
    $completions[$command]
}
