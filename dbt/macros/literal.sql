{#- A project variable as a typed SQL literal: quotes inside it are doubled, the type is checked by the database. -#}
{%- macro literal(variable, type) -%}
    cast('{{ var(variable) | string | replace("'", "''") }}' as {{ type }})
{%- endmacro -%}
